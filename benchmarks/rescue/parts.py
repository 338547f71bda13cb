"""Data and layers that several cases share."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache

import torch
from torch import Tensor, nn

from detente.data.arrays import Arrays
from detente.data.base import Data
from detente.data.digits import Digits
from detente.data.gaussian_mixture import Ring
from detente.methods import alternating
from detente.methods.base import with_rates
from detente.methods.method import Method
from detente.optimizers.adam import Adam

RING_A = Ring(8, standard_deviation=0.25, radius=3.0, mode_choice="random")
RING_A_COUNT = 5000


@lru_cache
def ring_a() -> Arrays:
    """Return the same 5,000 points of the ring in every call."""
    return Arrays(RING_A.draw(RING_A_COUNT, torch.Generator().manual_seed(0))["real"])


@lru_cache
def digits(resolution: int = 28, low: float = -1.0, flat: bool = False) -> Arrays:
    """Return M5K as floating-point pixels from `low` to 1, as (1, side, side) or as vectors."""
    images, labels = Digits(resolution).arrays
    pixels = images.float() / 255 * (1 - low) + low
    return Arrays(pixels.flatten(1) if flat else pixels, labels)


@dataclass(frozen=True)
class Normal(Data):
    """Scalars from a normal distribution, `count` of them in a sample.

    Args:
        mean, standard_deviation: of the distribution.
        count: scalars in a sample.
    """

    mean: float
    standard_deviation: float
    count: int = 1

    @property
    def shape(self) -> tuple[int, ...]:
        return (self.count,)

    def draw(self, count: int, generator: torch.Generator) -> dict[str, Tensor]:
        noise = torch.randn(count, self.count, generator=generator)
        return {"real": self.mean + self.standard_deviation * noise}


@dataclass(frozen=True)
class Interval(Data):
    """Scalars that are uniform on [low, high]."""

    low: float
    high: float

    @property
    def shape(self) -> tuple[int, ...]:
        return (1,)

    def draw(self, count: int, generator: torch.Generator) -> dict[str, Tensor]:
        return {"real": self.low + (self.high - self.low) * torch.rand(count, 1, generator=generator)}


@dataclass(frozen=True)
class DoubledRing(Data):
    """Gaussians at the angles linspace(0, 2π, modes); the first and the last coincide.

    Args:
        modes: number of angles; one fewer are distinct.
        standard_deviation: of every mode along each axis.
    """

    modes: int = 8
    standard_deviation: float = 0.01

    @property
    def shape(self) -> tuple[int, ...]:
        return (2,)

    @property
    def centres(self) -> Tensor:
        """Centres of the distinct modes, (modes − 1, 2); the first has double weight."""
        angles = torch.arange(self.modes - 1, dtype=torch.float64) * (2 * math.pi / (self.modes - 1))
        return torch.stack([angles.cos(), angles.sin()], 1).float()

    @property
    def weights(self) -> Tensor:
        """Probability of each distinct mode."""
        weights = torch.full((self.modes - 1,), 1 / self.modes)
        weights[0] *= 2
        return weights

    def draw(self, count: int, generator: torch.Generator) -> dict[str, Tensor]:
        modes = torch.multinomial(self.weights, count, replacement=True, generator=generator)
        noise = torch.randn(count, 2, generator=generator)
        return {"real": self.centres[modes] + self.standard_deviation * noise}


class UniformLatent(nn.Module):
    """Makes standard normal latents uniform on [low, high]: low + (high − low) Φ(z)."""

    def __init__(self, low: float = 0.0, high: float = 1.0) -> None:
        super().__init__()
        self.low, self.high = low, high

    def forward(self, latents: Tensor) -> Tensor:
        """Return the uniform latents."""
        return self.low + (self.high - self.low) * torch.special.ndtr(latents)


def layers(*sizes: int, between: Callable[[], nn.Module]) -> list[nn.Module]:
    """Return fully connected layers of these sizes with an activation between them."""
    layers: list[nn.Module] = []
    for index, (inputs, outputs) in enumerate(zip(sizes[:-1], sizes[1:], strict=True)):
        layers += [nn.Linear(inputs, outputs)] if index == 0 else [between(), nn.Linear(inputs, outputs)]
    return layers


def adam(
    learning_rate: float | Mapping[str, float], beta: float = 0.5, discriminator_turns: int = 1, second: float = 0.999
) -> Method:
    """Return alternating Adam with a rate for both players or one for each, and β₁."""
    optimizers = with_rates(learning_rate, 2e-4, lambda rate: Adam(rate, (beta, second)))
    method = alternating(discriminator_turns=discriminator_turns)
    return Method(method.field, method.scheme, optimizers)
