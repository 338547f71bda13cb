"""F42: Wasserstein loss with no bound at all: the critic's gap grows without end (Mode_Collapse PR #1 and others).

The source does not specify G, the critic steps (5, as in WGAN), the batch (256) and the steps. Observed: the gap grows
to 90 and falls again as G catches up; the samples meet the criterion of success, with one critic step or five: this
ring does not show the failure.
"""

from __future__ import annotations

from torch import nn

from benchmarks.rescue.marks import RingA
from benchmarks.rescue.parts import RING_A, layers, ring_a
from detente.games.adversarial import Adversarial
from detente.methods import alternating
from detente.methods.method import Method
from detente.optimizers.rmsprop import RMSprop
from detente.penalties.gradient_penalty import GradientPenalty

NAME = "Wasserstein loss with no bound at all"
CLASSES = ("unbounded critic", "penalty or Lipschitz bound wrong", "blow-up")
LINK = "https://github.com/torchgan/torchgan/pull/42"
STEPS = 2000
MAY_CHANGE_NETWORKS = False
MARKS = RingA(RING_A.centres)
failed, cured = MARKS.failed, MARKS.cured


def generator() -> nn.Module:
    """Return G: 2-256-256-2, ReLU."""
    return nn.Sequential(*layers(2, 256, 256, 2, between=nn.ReLU))


def discriminator() -> nn.Module:
    """Return the critic: 2-256-256-1, ReLU."""
    return nn.Sequential(*layers(2, 256, 256, 1, between=nn.ReLU))


def game() -> Adversarial:
    """Return the failing game."""
    return Adversarial(generator, discriminator, ring_a(), 2, "wasserstein", batch=256)


def method() -> Method:
    """Return RMSprop, rate 1e-3, five turns of the critic."""
    return alternating(RMSprop(1e-3), discriminator_turns=5)


def twin() -> tuple[Adversarial, Method]:
    """Return the cure [M]: a gradient penalty."""
    return game().changed(penalties=GradientPenalty(10.0)), method()
