"""Tests of `UnitLatents`."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn.functional import softplus

from detente import Networks
from detente.cures.unit_latents import UnitLatents
from detente.games.data_units import latent_size
from detente.games.gan import gan_of
from tests.cures.conftest import discriminator, generator

Make = Callable[..., Any]


def drawing(size: float) -> Networks:
    def draw(source: torch.Generator) -> dict[str, Tensor]:
        return {"real": torch.randn(16, 2, generator=source), "latent": size * torch.randn(16, 3, generator=source)}

    def losses(net: Any, batch: Any) -> dict[str, Any]:
        real, fake = net.discriminator(batch["real"]), net.discriminator(net.generator(batch["latent"]))
        return {"discriminator": softplus(-real).mean() + softplus(fake).mean(), "generator": softplus(-fake).mean()}

    return Networks({"generator": generator, "discriminator": discriminator}, losses, data=draw)


def test_large_latents(case: Make, trains: Make) -> None:
    ill = case("data scale", game=drawing(1000.0))
    assert latent_size(gan_of(ill.game)) == pytest.approx(1000, rel=0.3)
    changed, _ = trains(ill, UnitLatents()(ill))
    scale = float(f"{latent_size(gan_of(ill.game)):.2g}")
    state = ill.game.initial(torch.Generator().manual_seed(0))
    source = torch.randn(5, 3)
    inner, outer = (net._net(*state).generator(x) for net, x in ((ill.game, source), (changed, scale * source)))
    torch.testing.assert_close(inner, outer)
    assert UnitLatents()(case("data scale", game=drawing(1.0))) is None
