"""F47: a Gaussian with mean 400 that G never reaches (devnag #9; N(4, 1.25) works).

D reads 100 scalars at once, so a sample of the game is 100 scalars and a batch is one sample.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from benchmarks.rescue.marks import Scalar
from benchmarks.rescue.parts import Normal, UniformLatent, adam, layers
from detente.games.adversarial import Adversarial
from detente.methods.method import Method

NAME = "Gaussian with mean 400"
CLASSES = ("data scale",)
LINK = "https://github.com/devnag/pytorch-generative-adversarial-networks/issues/9"
STEPS = 30_000
MAY_CHANGE_NETWORKS = False
SCALARS = 100


class Marks(Scalar):
    """The criteria of scalars, for samples of 100."""

    count = 100


MARKS = Marks()
failed, cured = MARKS.failed, MARKS.cured
MEAN, DEVIATION = 400.0, 1.25


class Generator(nn.Module):
    """G for each scalar: 1-50-50-1, ELU and sigmoid; the result is multiplied and shifted."""

    def __init__(self, mean: float = 0.0, deviation: float = 1.0) -> None:
        super().__init__()
        self.mean, self.deviation, self.uniform = mean, deviation, UniformLatent()
        self.body = nn.Sequential(nn.Linear(1, 50), nn.ELU(), nn.Linear(50, 50), nn.Sigmoid(), nn.Linear(50, 1))

    def forward(self, latents: Tensor) -> Tensor:
        """Return samples, (batch, 100)."""
        return self.mean + self.deviation * self.body(self.uniform(latents)[..., None])[..., 0]


class Discriminator(nn.Module):
    """D of 100 scalars and their squared deviations: 200-50-50-1, ELU, sigmoid."""

    def __init__(self, mean: float = 0.0, deviation: float = 1.0) -> None:
        super().__init__()
        self.mean, self.deviation = mean, deviation
        self.body = nn.Sequential(*layers(2 * SCALARS, 50, 50, 1, between=nn.ELU), nn.Sigmoid())

    def forward(self, samples: Tensor) -> Tensor:
        """Return probabilities, (batch, 1)."""
        x = (samples - self.mean) / self.deviation
        return self.body(torch.cat([x, (x - x.mean(1, keepdim=True)).square()], 1))


def game() -> Adversarial:
    """Return the failing game: cross-entropy of probabilities."""
    data = Normal(MEAN, DEVIATION, SCALARS)
    return Adversarial(Generator, Discriminator, data, SCALARS, "non_saturating", batch=1, scores="probabilities")


def method() -> Method:
    """Return Adam, rate 2e-4, β₁ 0.9."""
    return adam(2e-4, beta=0.9)


def twin() -> tuple[Adversarial, Method]:
    """Return the cure [D]: standardised data, undone at the end: both inside the networks."""
    generator, discriminator = lambda: Generator(MEAN, DEVIATION), lambda: Discriminator(MEAN, DEVIATION)
    return game().changed(generator=generator, discriminator=discriminator), method()
