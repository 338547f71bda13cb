"""F20: D says "real" to everything, its loss 7.97 and G's 0 for ever: a clipped loss has no gradient there.

The source does not specify the networks (fully connected ones, with batch norm in G, since otherwise the twin's D is
too strong); pictures in [0, 1], as in the first source. After D's two large steps, its loss is 7.97 and G's is 0.00.
Constructing the game gives a warning about the sigmoid, as it does for users.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor, nn

from benchmarks.rescue.marks import DigitImages
from benchmarks.rescue.parts import adam, digits, layers
from detente.games.adversarial import Adversarial
from detente.methods.base import with_rates
from detente.methods.method import Method
from detente.objectives.base import Objective
from detente.optimizers.adam import Adam
from detente.schedules.piecewise import Piecewise

NAME = "D loss 7.971, G loss 0, for ever"
CLASSES = ("generator overpowers or discriminator dead", "vanishing gradient")
LINK = "https://github.com/roatienza/Deep-Learning-Experiments/issues/2"
STEPS = 3000
MAY_CHANGE_NETWORKS = False
MARKS = DigitImages(low=0.0)
failed, cured = MARKS.failed, MARKS.cured


@dataclass(frozen=True)
class Clipped(Objective):
    """Cross-entropy of probabilities that are clipped to [ε, 1 − ε]; D's loss is the mean of its two halves."""

    needs_logits: ClassVar[bool] = False

    epsilon: float = 1e-7

    def discriminator_loss(self, real: Tensor, fake: Tensor) -> Tensor:
        """Return ½(−E_real[log p] − E_fake[log(1 − p)]), ()."""
        p, q = (x.clamp(self.epsilon, 1 - self.epsilon) for x in (real, fake))
        return -0.5 * (p.log().mean() + (1 - q).log().mean())

    def generator_loss(self, real: Tensor | None, fake: Tensor) -> Tensor:
        """Return −E_fake[log p], ()."""
        return -fake.clamp(self.epsilon, 1 - self.epsilon).log().mean()


def generator() -> nn.Module:
    """Return G: 100-256-512-784, batch norm, LeakyReLU 0.2, sigmoid."""
    hidden: list[nn.Module] = []
    for inputs, outputs in ((100, 256), (256, 512)):
        hidden += [nn.Linear(inputs, outputs), nn.BatchNorm1d(outputs), nn.LeakyReLU(0.2)]
    return nn.Sequential(*hidden, nn.Linear(512, 784), nn.Sigmoid(), nn.Unflatten(1, (1, 28, 28)))


def logits() -> nn.Module:
    """Return D: 784-512-256-1, LeakyReLU 0.2, logits."""
    return nn.Sequential(nn.Flatten(), *layers(784, 512, 256, 1, between=lambda: nn.LeakyReLU(0.2)))


def discriminator() -> nn.Module:
    """Return D with a sigmoid."""
    return nn.Sequential(logits(), nn.Sigmoid())


def game() -> Adversarial:
    """Return the failing game."""
    return Adversarial(generator, discriminator, digits(low=0.0), 100, Clipped(), batch=64)


def method() -> Method:
    """Return Adam, rate 2e-4, β₁ 0.5; D's first two steps have rate 0.1."""
    rates = {"generator": 2e-4, "discriminator": Piecewise((0.1, 2e-4), (2,))}
    plain = adam(2e-4)
    return Method(plain.field, plain.scheme, with_rates(rates, 2e-4, lambda rate: Adam(rate, (0.5, 0.999))))


def twin() -> tuple[Adversarial, Method]:
    """Return the cure: a loss on logits [D], and rates without the first large steps [R]."""
    return game().changed(discriminator=logits, objective="non_saturating"), adam(2e-4)
