"""Packing: channels in the order of the batch, one score for each pack, and a game that trains with it."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

import detente
from detente import methods
from detente.errors import InvalidValue
from detente.networks.mlp import MLP
from detente.networks.packed import Packed
from detente.objectives.non_saturating import NonSaturating
from detente.training.stepper import Stepper


@pytest.mark.parametrize("shape", [(2,), (3, 4, 5)], ids=["points", "images"])
def test_packing_concatenates_channels(shape: tuple[int, ...]) -> None:
    inputs: list[Tensor] = []

    class Network(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            inputs.append(x)
            return x.flatten(1).sum(1)

    x = torch.randn(6, *shape, generator=torch.Generator().manual_seed(0))
    scores = Packed(Network(), 3)(x)
    assert scores.shape == (2,)
    assert torch.equal(inputs[0], torch.stack([torch.cat(list(x[:3])), torch.cat(list(x[3:]))]))


def test_a_game_trains_with_packing() -> None:
    points = torch.randn(12, 2, generator=torch.Generator().manual_seed(0))
    game = detente.Adversarial(MLP(3, 2, 4, 1), Packed(MLP(4, 1, 4, 1)), points, 3, batch=6)
    stepper = Stepper(game, methods.alternating())
    batch = game.draw(torch.Generator().manual_seed(1))
    losses, _ = game.losses(stepper.state.vectors, stepper.state.buffers, batch)
    generator, discriminator = stepper.modules()
    real, fake = discriminator(batch["real"]).flatten(), discriminator(generator(batch["latent"])).flatten()
    assert real.shape == (3,)
    torch.testing.assert_close(losses["discriminator"], NonSaturating().discriminator_loss(real, fake))
    stepper.step()


def test_invalid_use_is_refused() -> None:
    with pytest.raises(InvalidValue, match="^batch: got 5; allowed: a multiple of 2"):
        Packed(MLP(4, 1, 4, 1))(torch.zeros(5, 2))
    with pytest.raises(InvalidValue, match="^samples: got 0"):
        Packed(MLP(4, 1, 4, 1), 0)
    with pytest.raises(InvalidValue, match="discriminator|batch"):
        detente.Adversarial(MLP(3, 2, 4, 1), Packed(MLP(4, 1, 4, 1)), torch.zeros(12, 2), 3, batch=5)
