"""F31: both losses go to 0, since real and generated samples pass D's batch norm in one batch.

The source does not specify G, widths, rates (2e-4, β₁ 0.5) and batch (64).
"""

from __future__ import annotations

import torch
from torch import nn
from torch.nn.functional import softplus

from benchmarks.rescue.marks import DigitImages
from benchmarks.rescue.parts import adam, digits
from detente.games.adversarial import Adversarial
from detente.games.networks import Networks
from detente.methods.method import Method

NAME = "Real and fake in one batch through D's batch norm"
CLASSES = ("normalisation",)
LINK = "https://github.com/soumith/ganhacks/issues/52"
STEPS = 1000  # the original run has 450
MAY_CHANGE_NETWORKS = False
MARKS = DigitImages()
failed, cured = MARKS.failed, MARKS.cured


def generator() -> nn.Module:
    """Return a small DCGAN generator with batch norm, to 28 × 28."""
    return nn.Sequential(
        nn.Linear(64, 64 * 49),
        nn.Unflatten(1, (64, 7, 7)),
        nn.BatchNorm2d(64),
        nn.ReLU(),
        nn.ConvTranspose2d(64, 32, 4, stride=2, padding=1),
        nn.BatchNorm2d(32),
        nn.ReLU(),
        nn.ConvTranspose2d(32, 1, 4, stride=2, padding=1),
        nn.Tanh(),
    )


def discriminator() -> nn.Module:
    """Return D: two convolutions with batch norm, LeakyReLU 0.2, logits."""
    return nn.Sequential(
        nn.Conv2d(1, 32, 4, stride=2, padding=1),
        nn.BatchNorm2d(32),
        nn.LeakyReLU(0.2),
        nn.Conv2d(32, 64, 4, stride=2, padding=1),
        nn.BatchNorm2d(64),
        nn.LeakyReLU(0.2),
        nn.Flatten(),
        nn.Linear(64 * 49, 1),
    )


def losses(net, batch, t):  # noqa: ANN001, ANN201
    """Return the non-saturating losses: D's step scores one stacked batch, G's step only generated samples."""
    real = batch["real"]
    fake = net.generator(torch.randn(len(real), 64))

    def of_discriminator() -> torch.Tensor:
        scores = net.discriminator(torch.cat([real, fake]))
        return softplus(-scores[: len(real)]).mean() + softplus(scores[len(real) :]).mean()

    return {"discriminator": of_discriminator, "generator": lambda: softplus(-net.discriminator(fake)).mean()}


def show(net, batch):  # noqa: ANN001, ANN201
    """Return generated pictures."""
    return net.generator(torch.randn(len(batch["real"]), 64))


def game() -> Networks:
    """Return the failing game."""
    players = {"generator": generator, "discriminator": discriminator}
    return Networks(players, losses, digits(), batch=64, show=show)


def separate() -> Adversarial:
    """Return the same networks with separate half batches."""
    return Adversarial(generator, discriminator, digits(), 64, "non_saturating", batch=64)


def method() -> Method:
    """Return Adam, rate 2e-4, β₁ 0.5."""
    return adam(2e-4)


def twin() -> tuple[Adversarial, Method]:
    """Return the cure [M]: separate half batches."""
    return separate(), method()
