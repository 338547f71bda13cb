"""Distance to a known solution."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from detente.data.gaussian_mixture import Ring
from detente.games.adversarial import Adversarial
from detente.games.dirac_gan import DiracGAN
from detente.metrics.context import EvaluationContext
from detente.metrics.distance_to_solution import DistanceToSolution
from detente.state import State


def measure(game: DiracGAN, theta: float, psi: float, dtype: torch.dtype = torch.float64) -> float:
    vectors = {"generator": torch.tensor([theta], dtype=dtype), "discriminator": torch.tensor([psi], dtype=dtype)}
    return DistanceToSolution()(EvaluationContext(game, State(torch.tensor(0), vectors), torch.Generator()))


def test_it_is_the_euclidean_distance_over_all_players() -> None:
    assert measure(DiracGAN(), 3.0, -4.0) == pytest.approx(5.0, rel=1e-12)
    assert measure(DiracGAN(), 0.0, 0.0) == 0.0


def test_it_is_taken_from_the_solution_and_not_from_zero() -> None:
    game = DiracGAN()
    game.solution = {"generator": torch.tensor([2.0]), "discriminator": torch.tensor([-1.0])}
    assert measure(game, 3.0, -1.0, torch.float32) == pytest.approx(1.0)


def test_it_applies_where_the_solution_is_known() -> None:
    gan = Adversarial(nn.Linear(2, 2), nn.Linear(2, 1), Ring(), latent=2, batch=4)
    assert DistanceToSolution().applies(DiracGAN()) and not DistanceToSolution().applies(gan)
