"""Real samples that a user's losses bring to usual units are seen in these units, also integers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import softplus

from detente import Networks
from detente.checks.base import inspect
from detente.games.gan import gan_of
from detente.games.penalised import PenalisedLosses
from detente.games.presets.changes import changed
from detente.penalties.r1 import R1

GENERATOR = torch.Generator().manual_seed(0)
PIXELS = torch.randint(0, 256, (500, 1, 6, 6), generator=GENERATOR)
TABLE = torch.randn(800, 3, generator=GENERATOR) * torch.tensor([1.0, 100.0, 1e4]) + torch.tensor([5.0, 0.0, 3e4])


def game(data: Tensor, normalise: Callable[[Tensor], Tensor], last: nn.Module | None = None) -> Networks:
    """Return a GAN whose losses normalise the real samples of a batch."""
    numbers = data[0].numel()

    def artist() -> nn.Module:
        layers = [nn.Linear(4, 32), nn.ReLU(), nn.Linear(32, numbers), last or nn.Tanh()]
        return nn.Sequential(*layers, nn.Unflatten(1, tuple(data.shape[1:])))

    def critic() -> nn.Module:
        return nn.Sequential(nn.Flatten(), nn.Linear(numbers, 32), nn.LeakyReLU(0.2), nn.Linear(32, 1))

    def draw(generator: torch.Generator) -> dict[str, Tensor]:
        rows = torch.randint(len(data), (32,), generator=generator)
        return {"x": data[rows], "z": torch.randn(32, 4, generator=generator)}

    def losses(net: Any, batch: Any) -> dict[str, Tensor]:
        real, fake = net.critic(normalise(batch["x"])), net.critic(net.artist(batch["z"]))
        return {"artist": softplus(-fake).mean(), "critic": softplus(-real).mean() + softplus(fake).mean()}

    return Networks({"artist": artist, "critic": critic}, losses, draw)


def pixels(x: Tensor) -> Tensor:
    return x.float() / 127.5 - 1


def columns(x: Tensor) -> Tensor:
    return (x - TABLE.mean(0)) / TABLE.std(0)


@pytest.mark.parametrize("dtype", [torch.uint8, torch.int64, torch.float32])
def test_pixels_that_the_losses_normalise(dtype: torch.dtype) -> None:
    made = game(PIXELS.to(dtype), pixels)
    gan = gan_of(made)
    batch = gan.batch(torch.Generator().manual_seed(0))
    assert gan.real_entry == "x" and torch.allclose(gan.real_of(batch), pixels(batch["x"]), atol=1e-5)
    assert float(gan.real(100, GENERATOR).abs().max()) <= 1.001
    assert inspect(made, kinds=["sample_units", "data_scale", "output_range"]) == []


def test_columns_that_the_losses_standardise() -> None:
    made = game(TABLE, columns, nn.Identity())
    real = gan_of(made).real(400, GENERATOR)
    assert torch.allclose(real.std(0), torch.ones(3), atol=0.2) and float(real.mean(0).abs().max()) < 0.3
    assert inspect(made, kinds=["sample_units", "data_scale"]) == []


def test_units_that_make_it_worse_are_a_mistake() -> None:
    made = game(TABLE[:, :1] - 5, lambda x: 20 * x, nn.Identity())
    assert gan_of(made).units is None
    plane = torch.randn(800, 2, generator=torch.Generator().manual_seed(1))
    assert [f.failure for f in inspect(game(plane, lambda x: 20 * x, nn.Identity()), kinds=["sample_units"])] == [
        "data scale",
        "wiring",
    ]
    assert gan_of(game(plane, lambda x: x, nn.Identity())).units is None


def test_cures_work_in_these_units() -> None:
    made = game(PIXELS.to(torch.uint8), pixels)
    penalised = changed(made, penalties=[R1(1.0)])
    inputs: list[Tensor] = []
    losses = penalised.arguments["losses"]  # pyright: ignore[reportAttributeAccessIssue]
    assert isinstance(losses, PenalisedLosses)

    class Spy(R1):
        def __call__(self, score: Any, real: Tensor, fake: Tensor, noise: dict[str, Tensor]) -> Tensor:
            inputs.append(real.detach())
            return super().__call__(score, real, fake, noise)

    losses.penalties = (Spy(1.0),)
    generator = torch.Generator().manual_seed(0)
    penalised.losses(*penalised.initial(generator), penalised.draw(generator))
    assert float(inputs[0].abs().max()) <= 1.001 and float(inputs[0].min()) < -0.9
    apart = changed(made, separate=True)
    assert float(gan_of(apart).real(100, generator).abs().max()) <= 1.001
