"""Tests of `OneMode`."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from detente.cures.one_mode import OneMode
from detente.games.gan import gan_of

Make = Callable[..., Any]


class Normed(nn.Module):
    """A generator that normalises by the batch in training, and by numbers that never change in evaluation."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.last = nn.Linear(3, 8), nn.Linear(8, 2)

    def forward(self, z: Tensor) -> Tensor:
        h = self.first(z)
        h = (h - h.mean(0)) / (h.std(0) + 1e-3) if self.training else (h - 5) / 9
        return self.last(torch.relu(h))


def test_samples_are_those_of_training(case: Make, game: Make, trains: Make) -> None:
    for kind, changes in (("adversarial", {"generator": Normed}), ("networks", {})):
        own = game(kind, **changes)
        if kind == "networks":
            own = own.changed(players={**own.arguments["players"], "maker": Normed})
        ill = case("normalisation", game=own)
        changed, _ = trains(ill, OneMode()(ill))
        gan = gan_of(changed)
        vectors, buffers = changed.initial(torch.Generator().manual_seed(0))
        training, evaluated = (
            gan.samples(vectors, buffers, 16, torch.Generator().manual_seed(1), training=mode) for mode in (True, False)
        )
        before = gan_of(own).samples(vectors, buffers, 16, torch.Generator().manual_seed(1))
        assert torch.equal(training, evaluated) and not torch.allclose(before, evaluated, atol=0.1)
    assert OneMode()(case("normalisation")) is None
    assert OneMode()(case("collapse", game=game(generator=Normed))) is None
