"""F24: all outputs 0.5 and the losses constant, since integer division made the initial weights 0 (nlintz #83).

The source does not specify the batch (128) and the steps.
"""

from __future__ import annotations

import torch
from torch import nn

from benchmarks.rescue.marks import DigitImages
from benchmarks.rescue.parts import adam, digits, layers
from detente.games.adversarial import Adversarial
from detente.methods.method import Method

NAME = "All outputs 0.5, cost constant: zero initialisation"
CLASSES = ("vanishing gradient",)
LINK = "https://github.com/nlintz/TensorFlow-Tutorials/issues/83"
STEPS = 10_000
MAY_CHANGE_NETWORKS = True
MARKS = DigitImages(low=0.0)
failed, cured = MARKS.failed, MARKS.cured


@torch.no_grad()
def initial(*parts: nn.Module, zero: bool) -> nn.Module:
    """Return layers in a row with weights N(0, 1/fan_in²), or 0 by integer division, and zero biases."""
    module = nn.Sequential(*parts)
    for layer in module:
        if isinstance(layer, nn.Linear):
            layer.weight.normal_().mul_(1 // layer.in_features if zero else 1 / layer.in_features)
            layer.bias.zero_()
    return module


def generator(zero: bool = True) -> nn.Module:
    """Return G: 100-400-784, tanh, sigmoid."""
    return initial(*layers(100, 400, 784, between=nn.Tanh), nn.Sigmoid(), zero=zero)


def discriminator(zero: bool = True) -> nn.Module:
    """Return D: 784-400-1, tanh, logits."""
    return initial(*layers(784, 400, 1, between=nn.Tanh), zero=zero)


def game() -> Adversarial:
    """Return the failing game."""
    return Adversarial(generator, discriminator, digits(low=0.0, flat=True), 100, "non_saturating", batch=128)


def method() -> Method:
    """Return Adam, rate 1e-3, β₁ 0.9."""
    return adam(1e-3, beta=0.9)


def twin() -> tuple[Adversarial, Method]:
    """Return the cure [R]: the standard deviation 1.0/fan_in."""
    return game().changed(generator=lambda: generator(False), discriminator=lambda: discriminator(False)), method()
