"""BatchNorm of plain operations: torch's values and statistics, and third derivatives that are right."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional

from detente.derivatives import vector_field, vector_jacobian
from detente.exact_operations import batch_norm
from detente.games.adversarial import Adversarial
from detente.networks.mlp import MLP
from detente.penalties.r1 import R1


def test_values_and_running_statistics_are_torchs() -> None:
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(4, 3, 5, generator=generator, dtype=torch.float64)
    weight, bias = torch.randn(2, 3, generator=generator, dtype=torch.float64)
    mine, theirs = ((torch.zeros(3).double(), torch.ones(3).double()) for _ in range(2))
    ours = batch_norm(x, *mine, weight, bias, True, 0.3, 1e-4)
    torch.testing.assert_close(
        ours, functional.batch_norm(x, *theirs, weight, bias, True, 0.3, 1e-4), rtol=1e-12, atol=0
    )
    torch.testing.assert_close(mine, theirs, rtol=1e-12, atol=0)


def penalised() -> Adversarial:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        discriminator = nn.Sequential(nn.Linear(2, 4), nn.BatchNorm1d(4), nn.Tanh(), nn.Linear(4, 1)).double()
        generator = MLP(3, 2, 4, 1, "tanh").double()
    points = torch.randn(16, 2, generator=torch.Generator().manual_seed(0))
    return Adversarial(generator, discriminator, points, 3, penalties=R1(), batch=6)


def test_consensus_with_a_penalty_is_the_gradient_of_half_the_squared_field() -> None:
    """J(x)ᵀ v(x) against central differences of ½‖v(x)‖²: torch's own third derivative misses by several per cent."""
    game = penalised()
    random = torch.Generator().manual_seed(1)
    vectors, buffers = game.initial(random)
    batch = game.draw(random)
    _, pull = vector_jacobian(game, vectors, buffers, batch)

    def half_square(along: dict[str, torch.Tensor], step: float) -> float:
        at = {name: v + step * along[name] for name, v in vectors.items()}
        return sum(float(block.square().sum()) for block in vector_field(game, at, buffers, batch).field.values()) / 2

    for _ in range(3):
        along = {name: torch.randn(v.shape, generator=random, dtype=v.dtype) for name, v in vectors.items()}
        slope = (half_square(along, 1e-5) - half_square(along, -1e-5)) / 2e-5
        found = sum(float(pull[name] @ along[name]) for name in vectors)
        assert abs(found - slope) <= 1e-6 * max(1.0, abs(slope))
