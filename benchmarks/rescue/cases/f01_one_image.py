"""F01: every latent gives the same picture (HIPS/autograd, `generative_adversarial_net.py`).

Latents are uniform on [0, 1): normal ones through Φ inside the generator. 50 epochs of M5K are 2,500 steps, in which
the derived cure does not succeed; a run has four times as many, which is the original's 60 s (50 epochs of MNIST are
30,000).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.functional import logsigmoid

from benchmarks.rescue.marks import DigitImages
from benchmarks.rescue.parts import UniformLatent, adam, digits, layers
from detente.games.adversarial import Adversarial
from detente.methods import simultaneous
from detente.methods.method import Method
from detente.objectives.base import ZeroSum
from detente.optimizers.adam import Adam

NAME = "MNIST, one single image"
CLASSES = ("collapse", "discriminator overpowers", "blow-up")
LINK = "https://github.com/HIPS/autograd/blob/master/examples/generative_adversarial_net.py"
STEPS = 10_000
MAY_CHANGE_NETWORKS = False
MARKS = DigitImages(low=0.0)
failed, cured = MARKS.failed, MARKS.cured


@dataclass(frozen=True)
class UnboundedFake(ZeroSum):
    """L_D = −E_real[log σ(s)] + E_fake[log σ(s)],  L_G = −L_D: the discriminator's term on fakes has no bound."""

    def discriminator_loss(self, real: Tensor, fake: Tensor) -> Tensor:
        """Return the loss, (), from logits."""
        return -logsigmoid(real).mean() + logsigmoid(fake).mean()


@torch.no_grad()
def tiny(*parts: nn.Module) -> nn.Module:
    """Return layers in a row with weights and biases N(0, 1) × 0.001."""
    module = nn.Sequential(*parts)
    for parameter in module.parameters():
        parameter.normal_().mul_(0.001)
    return module


def generator() -> nn.Module:
    """Return G: 10-200-784, ReLU, sigmoid."""
    return tiny(UniformLatent(), *layers(10, 200, 784, between=nn.ReLU), nn.Sigmoid())


def discriminator() -> nn.Module:
    """Return D: 784-200-1, ReLU, logits."""
    return tiny(*layers(784, 200, 1, between=nn.ReLU))


def game() -> Adversarial:
    """Return the failing game."""
    return Adversarial(generator, discriminator, digits(low=0.0, flat=True), 10, UnboundedFake(), batch=100)


def method() -> Method:
    """Return simultaneous Adam, rate 0.01, β₁ 0.9."""
    return simultaneous(Adam(0.01, (0.9, 0.999)))


def twin() -> tuple[Adversarial, Method]:
    """Return the cure [D]: alternating steps, rate 2e-4, β₁ 0.5, the usual log(1 − D) term."""
    return game().changed(objective="non_saturating"), adam(2e-4)
