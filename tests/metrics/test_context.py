"""A subject draws its samples once, repeatably, and changes nothing."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from detente.data.gaussian_mixture import Ring
from detente.games.dirac_gan import DiracGAN
from detente.metrics.context import EvaluationContext
from detente.state import State


class Sampled:
    """Stands for a game with a generator: latents shifted by the generator's parameters."""

    data = Ring()

    def __init__(self) -> None:
        self.calls = 0

    def sample(self, state: State, count: int, generator: torch.Generator) -> Tensor:
        self.calls += 1
        return torch.randn(count, 2, generator=generator) + state.vectors["generator"]


def subject_of(seed: int, count: int = 16) -> EvaluationContext:
    game: Any = Sampled()
    vectors = {"generator": torch.ones(2, requires_grad=True)}
    return EvaluationContext(game, State(torch.tensor(0), vectors), torch.Generator().manual_seed(seed), samples=count)


def test_samples_are_drawn_once_and_only_when_looked_at() -> None:
    subject = subject_of(0)
    game: Any = subject.game
    assert game.calls == 0
    assert subject.samples is subject.samples and game.calls == 1
    assert subject.samples.shape == (16, 2) and not subject.samples.requires_grad


def test_samples_repeat_with_the_generator() -> None:
    assert torch.equal(subject_of(3).samples, subject_of(3).samples)
    assert not torch.equal(subject_of(3).samples, subject_of(4).samples)


def test_data_are_the_games_or_none() -> None:
    assert subject_of(0).data == Ring()
    game = DiracGAN()
    state = State(torch.tensor(0), game.initial(torch.Generator())[0])
    assert EvaluationContext(game, state, torch.Generator()).data is None
