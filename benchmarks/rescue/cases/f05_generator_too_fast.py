"""F05: a ring whose generator learns 10 times faster than the discriminator: collapse under perfect-looking losses."""

from __future__ import annotations

from torch import nn

from benchmarks.rescue.marks import RingA
from benchmarks.rescue.parts import RING_A, adam, layers, ring_a
from detente.games.adversarial import Adversarial
from detente.methods.method import Method
from detente.networks.spectral_norm import spectral_norm

NAME = "Ring, G learns 10 × faster than D"
CLASSES = ("generator overpowers or discriminator dead", "collapse", "oscillation or limit cycle")
LINK = "https://ideal.umd.edu/ML4ME_Textbook/"
STEPS = 2400  # 120 epochs
TWIN_STEPS = 4800  # 240 epochs
MAY_CHANGE_NETWORKS = False
MARKS = RingA(RING_A.centres)
failed, cured = MARKS.failed, MARKS.cured


def generator() -> nn.Module:
    """Return G: 2-256-256-2, LeakyReLU 0.01."""
    return nn.Sequential(*layers(2, 256, 256, 2, between=lambda: nn.LeakyReLU(0.01)))


def discriminator() -> nn.Module:
    """Return D: 2-256-256-1, LeakyReLU 0.2, logits."""
    return nn.Sequential(*layers(2, 256, 256, 1, between=lambda: nn.LeakyReLU(0.2)))


def bounded() -> nn.Module:
    """Return D with spectral norm on every layer."""
    return spectral_norm(discriminator())


def game() -> Adversarial:
    """Return the failing game: the non-saturating objective."""
    return Adversarial(generator, discriminator, ring_a(), 2, "non_saturating", batch=256)


def method() -> Method:
    """Return Adam, β₁ 0.5, rate 1e-4 for G and 1e-5 for D."""
    return adam({"generator": 1e-4, "discriminator": 1e-5})


def twin() -> tuple[Adversarial, Method]:
    """Return the cure [M]: spectral norm on D, rates 1e-4 and 5e-4, 240 epochs."""
    return game().changed(discriminator=bounded), adam({"generator": 1e-4, "discriminator": 5e-4})
