"""Least-squares regression of the scores to a label for real samples and another for fake samples."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from detente.errors import require
from detente.objectives.base import Objective
from detente.schedules.base import Schedule, number


@dataclass(frozen=True)
class LeastSquares(Objective):
    """Squared distance between scores and labels; not zero-sum.

    L_D = ½E_real[(s - b)²] + ½E_fake[(s - a)²],  L_G = ½E_fake[(s - c)²].

    With b - c = 1 and b - a = 2 the generator minimises Pearson's χ² between p + q and 2q; the default is the paper's
    0-1 coding.

    Args:
        real_label: b, any finite number except `fake_label`, or a schedule.
        fake_label: a, finite, or a schedule.
        generator_label: c, finite, or a schedule: the generator's target for the scores of its samples.

    Raises:
        InvalidValue: a label is not finite, or the labels of real and fake samples are equal.

    Source: Mao et al. 2017, equation 2.
    """

    needs_logits: ClassVar[bool] = False

    real_label: float | Schedule = 1.0
    fake_label: float | Schedule = 0.0
    generator_label: float | Schedule = 1.0

    def __post_init__(self) -> None:
        for field in ("real_label", "fake_label", "generator_label"):
            label = getattr(self, field)
            accepted = isinstance(label, Schedule) or math.isfinite(label)
            require(accepted, field, label, "a finite number, or a schedule")
        require(self.real_label != self.fake_label, "real_label", self.real_label, "any number except fake_label")

    def discriminator_loss(self, real: Tensor, fake: Tensor) -> Tensor:
        """Return ½E_real[(s - b)²] + ½E_fake[(s - a)²], (), from scores, each (batch,)."""
        real_label, fake_label = number("real_label", self.real_label), number("fake_label", self.fake_label)
        return 0.5 * (real - real_label).square().mean() + 0.5 * (fake - fake_label).square().mean()

    def generator_loss(self, real: Tensor | None, fake: Tensor) -> Tensor:
        """Return ½E_fake[(s - c)²], (), from scores, (batch,); `real` is not used."""
        return 0.5 * (fake - number("generator_label", self.generator_label)).square().mean()
