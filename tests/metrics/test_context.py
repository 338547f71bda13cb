"""A subject draws its samples once, repeatably, and changes nothing."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor

from detente.data.gaussian_mixture import Ring
from detente.games.dirac_gan import DiracGAN
from detente.metrics.context import EvaluationContext, NotAvailable
from detente.state import State


class Sampled:
    """Replaces a game with a generator: latents shifted by the generator's parameters."""

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


def test_samples_are_drawn_once_and_lazily() -> None:
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


class Loaded:
    """Replaces a game of networks, whose data are batches of any form."""

    def __init__(self, batch: dict[str, Tensor], once: bool = False) -> None:
        self.batch, self.evaluation_memo, self.drawn = batch, {}, 0
        self.batches = SimpleNamespace(size=20, once=once)

    def draw(self, generator: torch.Generator) -> dict[str, Tensor]:
        self.drawn += 1
        rows = torch.randperm(20, generator=generator)[:8]
        return {name: entry[rows] for name, entry in self.batch.items()}


def loaded(batch: dict[str, Tensor], once: bool = False) -> EvaluationContext:
    game: Any = Loaded(batch, once)
    return EvaluationContext(game, State(torch.tensor(0), {}), torch.Generator())


def test_the_only_sample_like_entry_of_a_batch_gives_the_real_samples() -> None:
    images, labels = torch.rand(20, 1, 4, 4), torch.arange(20)
    subject = loaded({"0": images, "1": labels, "weight": torch.rand(20)})
    real = subject.real()
    assert real.shape == (20, 1, 4, 4) and subject.data.shape == (1, 4, 4)
    assert all(any(torch.equal(sample, image) for image in images) for sample in real)
    assert torch.equal(real, loaded({"0": images}).real())
    with pytest.raises(NotAvailable, match="labels"):
        subject.real_labels()
    named = loaded({"real": images, "other": images + 5})
    assert named.real().max() <= 1


@pytest.mark.parametrize("once", [False, True])
def test_ambiguous_batches_and_iterators_give_no_data(once: bool) -> None:
    entries = {"a": torch.rand(20, 3)} if once else {"a": torch.rand(20, 3), "b": torch.rand(20, 3)}
    subject: Any = loaded(entries, once)
    with pytest.raises(NotAvailable, match="a game with real data"):
        subject.real()
    assert subject.game.drawn == (0 if once else 1)


def test_many_samples_are_drawn_in_parts_that_are_tracked() -> None:
    parts: list[tuple[str, int, int]] = []

    def track(items: Any, name: str, total: int) -> Any:
        for item in items:
            parts.append((name, item, total))
            yield item

    game: Any = Sampled()
    state = State(torch.tensor(0), {"generator": torch.ones(2)})
    subject = EvaluationContext(game, state, torch.Generator().manual_seed(0), 5000, track)
    assert subject.samples.shape == (5000, 2) and game.calls == 3
    assert parts == [("samples", 2048, 3), ("samples", 2048, 3), ("samples", 904, 3)]
