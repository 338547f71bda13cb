"""F02: the generator sits on one or two modes of a ring and moves on when the discriminator catches up.

The notebook runs both training operations in one call, so steps are simultaneous.
"""

from __future__ import annotations

from functools import partial

from torch import nn

from benchmarks.rescue.marks import RingB
from benchmarks.rescue.parts import DoubledRing
from detente.games.adversarial import Adversarial
from detente.methods import simultaneous, unrolled
from detente.methods.base import with_rates
from detente.methods.method import Method
from detente.networks.mlp import MLP
from detente.optimizers.adam import Adam

NAME = "Ring of Gaussians without unrolling"
CLASSES = ("collapse", "oscillation or limit cycle")
LINK = "https://github.com/poolio/unrolled_gan/issues/2"
STEPS = 25_000
MAY_CHANGE_NETWORKS = False
DATA = DoubledRing()
MARKS = RingB(DATA.centres, DATA.weights, DATA.standard_deviation)
failed, cured = MARKS.failed, MARKS.cured

network = partial(MLP, width=128, depth=2, activation="tanh", initialisation="orthogonal", gain=1.4)


def generator() -> nn.Module:
    """Return G: 256-128-128-2, tanh, linear output, orthogonal with gain 1.4."""
    return network(256, 2)


def discriminator() -> nn.Module:
    """Return D: 2-128-128-1, tanh, logits, orthogonal with gain 1.4."""
    return network(2, 1)


def game() -> Adversarial:
    """Return the failing game: the saturating objective."""
    return Adversarial(generator, discriminator, DATA, 256, "minimax", batch=512)


def method() -> Method:
    """Return Adam, β₁ 0.5, rate 1e-3 for G and 1e-4 for D."""
    rates = {"generator": 1e-3, "discriminator": 1e-4}
    plain = simultaneous()
    return Method(plain.field, plain.scheme, with_rates(rates, 1e-4, lambda rate: Adam(rate, (0.5, 0.999))))


def twin() -> tuple[Adversarial, Method]:
    """Return the cure [M]: five unrolled steps of the discriminator."""
    return game(), unrolled(steps=5, learning_rate=1e-4, generator_learning_rate=1e-3)
