"""F39: NaN from the slope's square root at 0: a penalty without ε, and a ReLU critic that is constant in places.

The critic's biases are −5, so it is constant where all |w·x| < 5. The source does not specify the widths, the weights'
scale (standard deviation 2, so that the critic is dead around the origin and not at the data), and WGAN-GP's settings.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from benchmarks.rescue.marks import RingA
from benchmarks.rescue.parts import RING_A, adam, layers, ring_a
from detente.autodiff import input_gradient
from detente.games.adversarial import Adversarial
from detente.methods.method import Method
from detente.penalties.base import Penalty
from detente.penalties.gradient_penalty import GradientPenalty

NAME = "NaN from the slope's square root at 0"
CLASSES = ("blow-up", "penalty or Lipschitz bound wrong")
LINK = "https://github.com/tdeboissiere/DeepLearningImplementations/issues/68"
STEPS = 4000
MAY_CHANGE_NETWORKS = False
MARKS = RingA(RING_A.centres)
failed, cured = MARKS.failed, MARKS.cured


@dataclass(frozen=True)
class RawPenalty(Penalty):
    """λ E[(√(Σ g²) − 1)²] on lines from real to generated samples; the root's derivative at 0 is infinite.

    Args:
        strength: λ.
    """

    strength: float = 10.0

    def draw(self, shape: torch.Size, generator: torch.Generator) -> dict[str, Tensor]:
        """Return the places on the lines, (batch, 1)."""
        return {"mixing": torch.rand(shape[0], 1, generator=generator)}

    def __call__(self, score: Callable[[Tensor], Any], real: Tensor, fake: Tensor, noise: dict[str, Tensor]) -> Tensor:
        """Return the penalty, ()."""
        mixing = noise["mixing"].to(real.dtype)
        slope = input_gradient(score, mixing * real + (1 - mixing) * fake).square().sum(1).sqrt()
        return self.strength * (slope - 1).square().mean()


def generator() -> nn.Module:
    """Return G: 2-256-256-2, ReLU."""
    return nn.Sequential(*layers(2, 256, 256, 2, between=nn.ReLU))


@torch.no_grad()
def discriminator() -> nn.Module:
    """Return the critic: 2-256-256-1, ReLU, with a dead region."""
    module = nn.Sequential(*layers(2, 256, 256, 1, between=nn.ReLU))
    first: Any = module[0]
    first.weight.normal_().mul_(2)
    first.bias.fill_(-5.0)
    return module


def game() -> Adversarial:
    """Return the failing game: Wasserstein with the raw penalty."""
    return Adversarial(generator, discriminator, ring_a(), 2, "wasserstein", RawPenalty(), batch=256)


def method() -> Method:
    """Return WGAN-GP's Adam: rate 1e-4, β (0.5, 0.9), five turns of the critic."""
    return adam(1e-4, discriminator_turns=5, second=0.9)


def twin() -> tuple[Adversarial, Method]:
    """Return the cure [R]: a slope whose derivative at 0 is finite."""
    return game().changed(penalties=GradientPenalty(10.0)), method()
