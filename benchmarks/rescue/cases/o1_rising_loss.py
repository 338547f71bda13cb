"""O1, a control: the generator's loss rises through the whole DCGAN run while the pictures are good (chainer #4812).

The networks are F31's with another convolution in D, with separate batches.
"""

from __future__ import annotations

from torch import nn

from benchmarks.rescue.cases.f31_mixed_batch import generator
from benchmarks.rescue.marks import DigitImages
from benchmarks.rescue.parts import adam, digits
from detente.games.adversarial import Adversarial
from detente.methods.method import Method

NAME = "Control: the generator's loss rises"
CLASSES = ("healthy",)
LINK = "https://github.com/chainer/chainer/issues/4812"
STEPS = 2000
MAY_CHANGE_NETWORKS = False
MARKS = DigitImages()
failed, cured = MARKS.failed, MARKS.cured


def discriminator() -> nn.Module:
    """Return a DCGAN discriminator: three convolutions, batch norm after all but the first, logits."""
    return nn.Sequential(
        nn.Conv2d(1, 32, 4, stride=2, padding=1),
        nn.LeakyReLU(0.2),
        nn.Conv2d(32, 64, 4, stride=2, padding=1),
        nn.BatchNorm2d(64),
        nn.LeakyReLU(0.2),
        nn.Conv2d(64, 128, 3, stride=2, padding=1),
        nn.BatchNorm2d(128),
        nn.LeakyReLU(0.2),
        nn.Flatten(),
        nn.Linear(128 * 16, 1),
    )


def game() -> Adversarial:
    """Return the game."""
    return Adversarial(generator, discriminator, digits(), 64, "non_saturating", batch=50)


def method() -> Method:
    """Return Adam, rate 2e-4, β₁ 0.5."""
    return adam(2e-4)


def twin() -> tuple[Adversarial, Method]:
    """Return the same: there is nothing to cure."""
    return game(), method()
