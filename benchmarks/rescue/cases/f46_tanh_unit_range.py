"""F46: noise, since G ends in tanh and the data lie in [0, 1] (deep-learning-with-python-notebooks #7).

The source does not specify the networks (small convolutional ones), rates (2e-4, β₁ 0.5), batch (64) and steps.
Constructing the data gives a warning about their range, as it does for users. Observed, also with fully connected
networks and with RMSprop: twice the sigmoid's distance to the data, but not the criterion of failure.
"""

from __future__ import annotations

from torch import nn

from benchmarks.rescue.marks import DigitImages
from benchmarks.rescue.parts import adam, digits
from detente.games.adversarial import Adversarial
from detente.methods.method import Method

NAME = "Tanh against [0, 1]"
CLASSES = ("data scale",)
LINK = "https://github.com/fchollet/deep-learning-with-python-notebooks/issues/7"
STEPS = 2000
MAY_CHANGE_NETWORKS = True
MARKS = DigitImages(low=0.0)
failed, cured = MARKS.failed, MARKS.cured


def generator(last: type[nn.Module] = nn.Tanh) -> nn.Module:
    """Return G: dense, two transposed convolutions, no norm."""
    return nn.Sequential(
        nn.Linear(32, 64 * 49),
        nn.LeakyReLU(0.2),
        nn.Unflatten(1, (64, 7, 7)),
        nn.ConvTranspose2d(64, 32, 4, stride=2, padding=1),
        nn.LeakyReLU(0.2),
        nn.ConvTranspose2d(32, 1, 4, stride=2, padding=1),
        last(),
    )


def discriminator() -> nn.Module:
    """Return D: two convolutions, LeakyReLU 0.2, logits."""
    return nn.Sequential(
        nn.Conv2d(1, 32, 4, stride=2, padding=1),
        nn.LeakyReLU(0.2),
        nn.Conv2d(32, 64, 4, stride=2, padding=1),
        nn.LeakyReLU(0.2),
        nn.Flatten(),
        nn.Linear(64 * 49, 1),
    )


def game() -> Adversarial:
    """Return the failing game."""
    return Adversarial(generator, discriminator, digits(low=0.0), 32, "non_saturating", batch=64)


def method() -> Method:
    """Return Adam, rate 2e-4, β₁ 0.5."""
    return adam(2e-4)


def twin() -> tuple[Adversarial, Method]:
    """Return the cure [R]: a sigmoid."""
    return game().changed(generator=lambda: generator(nn.Sigmoid)), method()
