"""F22: the generator reaches [5, 7], the discriminator runs away, the generator follows, and so on; four parameters.

The source does not specify the start, the batch (64), the order (simultaneous) and the rate (0.02; with ten times more,
D is lost at once). The start is G on [0, 1] and a bump over both G's samples and the data, so that both players have a
gradient. Observed: D moves far away once and becomes flat, and both stop, with G's mean near 6.3: no lasting
oscillation.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn

from benchmarks.rescue.marks import Uniform57
from benchmarks.rescue.parts import Interval, UniformLatent
from detente.games.adversarial import Adversarial
from detente.methods import simultaneous
from detente.methods.method import Method
from detente.objectives.base import ZeroSum
from detente.optimizers.sgd import SGD
from detente.penalties.r1 import R1

NAME = "D runs away, G follows (4 parameters)"
CLASSES = ("oscillation or limit cycle", "collapse")
LINK = "https://math.stackexchange.com/questions/3441335"
STEPS = 10_000
MAY_CHANGE_NETWORKS = False
MARKS = Uniform57(with_range=False)
failed, cured = MARKS.failed, MARKS.cured


@dataclass(frozen=True)
class Bump(ZeroSum):
    """L_D = E_real[1 − D] + E_fake[D],  L_G = −L_D, of a D in (0, 1]."""

    needs_logits: ClassVar[bool] = False

    def discriminator_loss(self, real: Tensor, fake: Tensor) -> Tensor:
        """Return mean(1 − D(x)) + mean D(G(z)), ()."""
        return (1 - real).mean() + fake.mean()


class Line(nn.Module):
    """c z + d, for z uniform on [0, 1]."""

    def __init__(self) -> None:
        super().__init__()
        self.uniform = UniformLatent()
        self.slope, self.shift = nn.Parameter(1 + 0.1 * torch.randn(1)), nn.Parameter(0.1 * torch.randn(1))

    def forward(self, latents: Tensor) -> Tensor:
        """Return samples, (batch, 1)."""
        return self.slope * self.uniform(latents) + self.shift


class Peak(nn.Module):
    """exp(−(a x + b)²)."""

    def __init__(self) -> None:
        super().__init__()
        scale, centre = 0.4 + 0.04 * torch.randn(1), 4 + 0.4 * torch.randn(1)
        self.scale, self.shift = nn.Parameter(scale), nn.Parameter(-scale * centre)

    def forward(self, samples: Tensor) -> Tensor:
        """Return scores, (batch, 1), in (0, 1]."""
        return (-(self.scale * samples + self.shift).square()).exp()


def game() -> Adversarial:
    """Return the failing game."""
    return Adversarial(Line, Peak, Interval(5, 7), 1, Bump(), batch=64)


def method() -> Method:
    """Return plain gradient descent of both players at once, rate 0.02."""
    return simultaneous(SGD(0.02))


def twin() -> tuple[Adversarial, Method]:
    """Return the cure [D]: a zero-centred gradient penalty on the data."""
    return game().changed(penalties=R1(10.0)), method()
