"""F27: D 0.500, G 0.250 in every epoch: instance norm at 1 × 1 returns zeros, so D is constant (AdvGAN-tf #2).

torch's InstanceNorm2d refuses 1 × 1 maps; the same formula is a group norm with a group for each channel. The source
does not specify G (64-256-196), widths, rates (2e-4, β₁ 0.5), batch (64) and steps.
"""

from __future__ import annotations

from collections.abc import Callable

from torch import nn

from benchmarks.rescue.marks import DigitImages
from benchmarks.rescue.parts import adam, digits, layers
from detente.games.adversarial import Adversarial
from detente.methods.method import Method

NAME = "Instance norm at 1 × 1"
CLASSES = ("normalisation", "vanishing gradient")
LINK = "https://github.com/ctargon/AdvGAN-tf/issues/2"
STEPS = 5000
MAY_CHANGE_NETWORKS = True
MARKS = DigitImages()
failed, cured = MARKS.failed, MARKS.cured


def generator() -> nn.Module:
    """Return G: 64-256-512-196, ReLU, tanh."""
    return nn.Sequential(*layers(64, 256, 512, 196, between=nn.ReLU), nn.Tanh(), nn.Unflatten(1, (1, 14, 14)))


def discriminator(norm: Callable[[int], nn.Module] = lambda channels: nn.GroupNorm(channels, channels)) -> nn.Module:
    """Return D: convolutions 14 → 6 → 2 → 1 with a norm after the second and the third, and a linear score."""
    return nn.Sequential(
        nn.Conv2d(1, 16, 4, stride=2),
        nn.LeakyReLU(0.2),
        nn.Conv2d(16, 32, 4, stride=2),
        norm(32),
        nn.LeakyReLU(0.2),
        nn.Conv2d(32, 64, 2),
        norm(64),
        nn.LeakyReLU(0.2),
        nn.Flatten(),
        nn.Linear(64, 1),
    )


def game() -> Adversarial:
    """Return the failing game: least squares."""
    return Adversarial(generator, discriminator, digits(14), 64, "least_squares", batch=64)


def method() -> Method:
    """Return Adam, rate 2e-4, β₁ 0.5."""
    return adam(2e-4)


def twin() -> tuple[Adversarial, Method]:
    """Return the cure [A]: batch norm in place of instance norm."""
    return game().changed(discriminator=lambda: discriminator(nn.BatchNorm2d)), method()
