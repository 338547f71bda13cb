"""Modules and objectives of the adversarial game, and modules that it refuses."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytest
import torch
import torch.utils.checkpoint
from torch import Tensor, nn

from detente import methods
from detente.errors import InvalidValue
from detente.games.adversarial import Adversarial
from detente.objectives.minimax import Minimax
from detente.training.stepper import Stepper


class Checkpointed(nn.Module):
    """A module that recomputes its intermediate values in the backward pass."""

    def __init__(self, reentrant: bool) -> None:
        super().__init__()
        self.first, self.within, self.reentrant = nn.Linear(3, 4), nn.Sequential(nn.Tanh(), nn.Linear(4, 2)), reentrant

    def forward(self, x: Tensor) -> Tensor:
        return torch.utils.checkpoint.checkpoint(self.within, self.first(x), use_reentrant=self.reentrant)


@pytest.mark.parametrize("reentrant", [False, pytest.param(True, marks=pytest.mark.filterwarnings("ignore:None of"))])
def test_gradient_checkpointing_is_refused_where_it_would_give_wrong_gradients(reentrant: bool) -> None:
    with pytest.raises(InvalidValue, match="checkpointing"):
        Adversarial(Checkpointed(reentrant), nn.Linear(2, 1), torch.randn(8, 2), 3, batch=4)


def test_a_subclass_may_have_attributes_named_settings_and_memo() -> None:
    class Own(Adversarial):
        settings, memo = {"anything": 1}, "of the user's"

    game = Own(nn.Linear(2, 2), nn.Linear(2, 1), torch.rand(16, 2), latent=2, batch=8)
    choices: tuple[dict[str, Any], ...] = ({}, {"precision": "bfloat16"}, {"accumulate": 2})
    for options in choices:
        for method in (methods.consensus(), methods.alternating_shared_batch()):
            Stepper(game, method, **options).step()


def test_a_zero_sum_objective_may_override_the_generator_loss() -> None:
    """With both players requested, −L shares a graph with L; the loss of a subclass that overrides it must be used."""

    @dataclass(frozen=True)
    class Doubled(Minimax):
        def generator_loss(self, real: Any, fake: Any) -> Tensor:
            return -2 * self.discriminator_loss(real, fake)

    points = torch.randn(32, 2, generator=torch.Generator().manual_seed(0))
    game = Adversarial(nn.Linear(3, 2), nn.Linear(2, 1), points, 3, Doubled(), batch=4)
    vectors, buffers = game.initial(torch.Generator().manual_seed(0))
    losses, _ = game.losses(vectors, buffers, game.draw(torch.Generator().manual_seed(1)))
    torch.testing.assert_close(losses["generator"], -2 * losses["discriminator"])
