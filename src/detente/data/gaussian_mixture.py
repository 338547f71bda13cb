"""Mixtures of Gaussians in the plane with known modes: a ring of 8, a grid of 25, and 4 on a circle."""

from __future__ import annotations

import math
from dataclasses import InitVar, dataclass
from functools import cached_property
from typing import Literal, Protocol, get_args, runtime_checkable

import torch
from torch import Tensor

from detente.data.base import Data
from detente.errors import require, unknown

ModeChoice = Literal["deterministic", "random"]


@runtime_checkable
class Mixture(Protocol):
    """Interface of data with known modes, as metrics need it."""

    @property
    def centres(self) -> Tensor:
        """Centres of the modes, (modes, dimension) float32."""
        ...

    @property
    def standard_deviation(self) -> float:
        """Standard deviation of every mode, along every axis."""
        ...

    @property
    def weights(self) -> Tensor:
        """Probability of each mode, (modes,) float32, sum 1."""
        ...


def _draw(
    centres: Tensor, standard_deviation: float, weights: Tensor | None, count: int, generator: torch.Generator
) -> dict[str, Tensor]:
    """Return `count` points around modes drawn by `weights`, or around mode k mod modes if `weights` is None."""
    device = generator.device
    if weights is None:
        means = centres.to(device).expand(-(-count // len(centres)), -1, -1).flatten(0, 1)[:count]  # faster than repeat
    else:
        modes = torch.multinomial(weights.to(device), count, replacement=True, generator=generator)
        means = centres.to(device).index_select(0, modes)
    return {"real": means.add(torch.randn(means.shape, generator=generator, device=device), alpha=standard_deviation)}


def _require_positive(field: str, value: float) -> None:
    require(math.isfinite(value) and value > 0, field, value, "a finite number above 0")


def _require_mode_choice(value: str) -> None:
    if value not in get_args(ModeChoice):
        raise unknown("mode_choice", value, get_args(ModeChoice))


@dataclass(frozen=True)
class Ring(Data):
    """Gaussians evenly spaced on a circle.

    centre_k = radius * (cos 2πk/modes, sin 2πk/modes), k = 0 … modes - 1; x = centre_k + standard_deviation * N(0, I)

    Args:
        modes: number of Gaussians, at least 1.
        standard_deviation: standard deviation of every mode along each axis, above 0.
        radius: radius of the circle, above 0.
        mode_choice: "deterministic": sample k of a batch belongs to mode k mod modes, so that every batch contains
            each mode equally often; "random": modes are drawn independently and uniformly.

    Source: Mescheder, Nowozin, Geiger (2017), section 5 (modes drawn deterministically in the authors' code).
    """

    modes: int = 8
    standard_deviation: float = 0.01
    radius: float = 1.0
    mode_choice: ModeChoice = "deterministic"

    def __post_init__(self) -> None:
        require(type(self.modes) is int and self.modes >= 1, "modes", self.modes, "an integer, at least 1")
        _require_positive("standard_deviation", self.standard_deviation)
        _require_positive("radius", self.radius)
        _require_mode_choice(self.mode_choice)

    @property
    def shape(self) -> tuple[int, ...]:
        return (2,)

    @property
    def centres(self) -> Tensor:
        """Centres of the modes, (modes, 2) float32, counter-clockwise from (radius, 0)."""
        return self._centres

    @cached_property
    def _centres(self) -> Tensor:
        angles = torch.arange(self.modes, dtype=torch.float64) * (2 * math.pi / self.modes)
        return (self.radius * torch.stack([angles.cos(), angles.sin()], dim=1)).float()

    @property
    def weights(self) -> Tensor:
        """Probability of each mode, (modes,) float32: all equal."""
        return torch.full((self.modes,), 1 / self.modes)

    def draw(self, count: int, generator: torch.Generator) -> dict[str, Tensor]:
        weights = None if self.mode_choice == "deterministic" else self.weights
        return _draw(self.centres, self.standard_deviation, weights, count, generator)


@dataclass(frozen=True)
class Grid(Data):
    """Gaussians on a square grid around the origin.

    centre_ij = spacing * (i - (side - 1)/2, j - (side - 1)/2), i, j = 0 … side - 1

    Args:
        side: number of Gaussians along each axis, at least 1; 5 gives the 25 Gaussians at {-4, -2, 0, 2, 4}².
        spacing: distance between neighbouring centres, above 0.
        standard_deviation: standard deviation of every mode along each axis, above 0.
        scale: factor applied to `spacing` and `standard_deviation` in the constructor, so that both attributes describe
            the drawn points; 1/2.828 gives the 25 Gaussians of the WGAN-GP toy experiment.
        mode_choice: "random": modes are drawn independently and uniformly; "deterministic": sample k of a batch
            belongs to mode k mod side².

    Source: Lin, Khetan, Fanti, Oh (PacGAN, 2018), section 4.1; Gulrajani et al. (2017), toy experiments.
    """

    side: int = 5
    spacing: float = 2.0
    standard_deviation: float = 0.05
    scale: InitVar[float] = 1.0
    mode_choice: ModeChoice = "random"

    def __post_init__(self, scale: float) -> None:
        require(type(self.side) is int and self.side >= 1, "side", self.side, "an integer, at least 1")
        _require_positive("spacing", self.spacing)
        _require_positive("standard_deviation", self.standard_deviation)
        _require_positive("scale", scale)
        _require_mode_choice(self.mode_choice)
        object.__setattr__(self, "spacing", self.spacing * scale)
        object.__setattr__(self, "standard_deviation", self.standard_deviation * scale)

    @property
    def shape(self) -> tuple[int, ...]:
        return (2,)

    @property
    def centres(self) -> Tensor:
        """Centres of the modes, (side², 2) float32, row by row."""
        return self._centres

    @cached_property
    def _centres(self) -> Tensor:
        axis = (torch.arange(self.side, dtype=torch.float64) - (self.side - 1) / 2) * self.spacing
        return torch.cartesian_prod(axis, axis).float()

    @property
    def weights(self) -> Tensor:
        """Probability of each mode, (side²,) float32: all equal."""
        return torch.full((self.side**2,), 1 / self.side**2)

    def draw(self, count: int, generator: torch.Generator) -> dict[str, Tensor]:
        weights = None if self.mode_choice == "deterministic" else self.weights
        return _draw(self.centres, self.standard_deviation, weights, count, generator)


@dataclass(frozen=True)
class FourGaussians(Data):
    """The four Gaussians at (0, 1), (1, 0), (0, -1), (-1, 0), modes drawn independently.

    Args:
        legacy_weights: False: every mode has weight 1/4. True: the mode at (0, 1) has weight 2/5 and the others 1/5,
            as in the authors' code, which places five modes on a circle so that the first and last coincide.
        standard_deviation: standard deviation of every mode along each axis, above 0.

    Source: Keswani, Mangoubi, Sachdeva, Vishnoi (2022), experiments with Gaussian mixtures.
    """

    legacy_weights: bool = False
    standard_deviation: float = 0.01

    def __post_init__(self) -> None:
        require(type(self.legacy_weights) is bool, "legacy_weights", self.legacy_weights, "true or false")
        _require_positive("standard_deviation", self.standard_deviation)

    @property
    def shape(self) -> tuple[int, ...]:
        return (2,)

    @property
    def centres(self) -> Tensor:
        """Centres of the modes, (4, 2) float32, clockwise from (0, 1)."""
        return torch.tensor([[0.0, 1.0], [1.0, 0.0], [0.0, -1.0], [-1.0, 0.0]])

    @property
    def weights(self) -> Tensor:
        """Probability of each mode, (4,) float32."""
        return torch.tensor([0.4, 0.2, 0.2, 0.2] if self.legacy_weights else [0.25] * 4)

    def draw(self, count: int, generator: torch.Generator) -> dict[str, Tensor]:
        return _draw(self.centres, self.standard_deviation, self.weights, count, generator)
