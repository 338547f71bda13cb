"""O6, a control: F02's networks with a start from which the generator does not collapse (poolio/unrolled_gan #2)."""

from __future__ import annotations

import torch
from torch import nn

from benchmarks.rescue.cases import f02_ring_no_unrolling as collapsing
from benchmarks.rescue.parts import DoubledRing
from detente.games.adversarial import Adversarial
from detente.methods.method import Method
from detente.modules.calling import build

NAME = "Control: F02 with a lucky start"
CLASSES = ("healthy",)
LINK = "https://github.com/poolio/unrolled_gan/issues/2"
STEPS = collapsing.STEPS
MAY_CHANGE_NETWORKS = False
MARKS = collapsing.MARKS
failed, cured = MARKS.failed, MARKS.cured
LUCKY = 0  # seed of the initial parameters


def start() -> tuple[nn.Module, nn.Module]:
    """Return the initial networks, always the same ones."""
    generator = torch.Generator().manual_seed(LUCKY)
    return (
        build("generator", collapsing.generator, generator),
        build("discriminator", collapsing.discriminator, generator),
    )


def game() -> Adversarial:
    """Return the game."""
    return Adversarial(*start(), DoubledRing(), 256, "minimax", batch=512)


def method() -> Method:
    """Return F02's method."""
    return collapsing.method()


def twin() -> tuple[Adversarial, Method]:
    """Return the same: there is nothing to cure."""
    return game(), method()
