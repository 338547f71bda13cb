"""F19: 100 pictures for a discriminator that memorises them (BMSG-GAN #38: 400 photographs, then all equal).

The source does not specify G (100-256-512-784), rates (2e-4, β₁ 0.5), batch (50) and steps. The criteria compare with
all digits.
"""

from __future__ import annotations

from functools import lru_cache

import torch
from torch import Tensor, nn

from benchmarks.rescue.marks import DigitImages
from benchmarks.rescue.parts import adam, digits, layers
from detente.data.arrays import Arrays
from detente.data.digits import Digits
from detente.filters.diff_augment import DiffAugment
from detente.games.adversarial import Adversarial
from detente.methods.method import Method
from detente.penalties.r1 import R1

NAME = "400 photographs"
CLASSES = ("too few data", "collapse")
LINK = "https://github.com/akanimax/BMSG-GAN/issues/38"
STEPS = 10_000
MAY_CHANGE_NETWORKS = False
MARKS = DigitImages()
failed, cured = MARKS.failed, MARKS.cured


@lru_cache
def few() -> Arrays:
    """Return ten digits of each class."""
    images, labels = Digits().arrays
    chosen = torch.cat([(labels == k).nonzero().flatten()[:10] for k in range(10)])
    return Arrays(images[chosen], labels[chosen])


def real() -> Tensor:
    """Return all digits, with which the criteria compare."""
    return torch.as_tensor(digits().arrays[0])


def generator() -> nn.Module:
    """Return G: 100-256-512-784, LeakyReLU 0.2, tanh."""
    body = layers(100, 256, 512, 784, between=lambda: nn.LeakyReLU(0.2))
    return nn.Sequential(*body, nn.Tanh(), nn.Unflatten(1, (1, 28, 28)))


def discriminator() -> nn.Module:
    """Return D: 784-512-512-1, LeakyReLU 0.2, logits."""
    return nn.Sequential(nn.Flatten(), *layers(784, 512, 512, 1, between=lambda: nn.LeakyReLU(0.2)))


def small_discriminator() -> nn.Module:
    """Return D: 784-128-1, LeakyReLU 0.2, logits."""
    return nn.Sequential(nn.Flatten(), *layers(784, 128, 1, between=lambda: nn.LeakyReLU(0.2)))


def game() -> Adversarial:
    """Return the failing game."""
    return Adversarial(generator, discriminator, few(), 100, "non_saturating", batch=50)


def method() -> Method:
    """Return Adam, rate 2e-4, β₁ 0.5."""
    return adam(2e-4)


def twin() -> tuple[Adversarial, Method]:
    """Return the cure [D]: augmentation of real and generated pictures, R1, a smaller D."""
    augmentation = DiffAugment("translation,cutout")
    changed = game().changed(discriminator=small_discriminator, penalties=R1(0.1), filter=augmentation)
    return changed, adam(2e-4)
