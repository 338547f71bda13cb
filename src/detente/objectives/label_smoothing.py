"""One-sided label smoothing: the discriminator's target for real samples is less than 1."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor
from torch.nn.functional import logsigmoid, softplus

from detente.errors import require
from detente.objectives.base import Objective
from detente.schedules.base import Schedule, number


@dataclass(frozen=True)
class LabelSmoothing(Objective):
    """The non-saturating objective with the target α instead of 1 for real samples; not zero-sum.

    L_D = -E_real[α log σ(s) + (1 - α) log(1 - σ(s))] - E_fake[log(1 - σ(s))],  L_G = -E_fake[log σ(s)].

    The best discriminator of real samples is at the probability α p/(p + q). Targets of fake samples stay 0: with a
    positive one, the best discriminator would reward the generator for samples where it already puts most of them. For
    least squares, set `LeastSquares.real_label`.

    Args:
        real_label: α, in (0, 1], or a schedule; 1 is `NonSaturating`.

    Raises:
        InvalidValue: `real_label` is not in (0, 1].

    Source: Salimans et al. 2016, Improved Techniques for Training GANs (arXiv:1606.03498), section 3.4; α = 0.9
        as in its text.
    """

    real_label: float | Schedule = 0.9

    def __post_init__(self) -> None:
        accepted = isinstance(self.real_label, Schedule) or 0 < self.real_label <= 1
        require(accepted, "real_label", self.real_label, "a number in (0, 1], or a schedule")

    def discriminator_loss(self, real: Tensor, fake: Tensor) -> Tensor:
        """Return the cross-entropy with targets α and 0, () in nats, from logits, each (batch,)."""
        missing = 1 - number("real_label", self.real_label)
        # −α log σ(s) − (1 − α) log(1 − σ(s)) = softplus(−s) + (1 − α) s
        return (softplus(-real) + missing * real).mean() + softplus(fake).mean()

    def generator_loss(self, real: Tensor | None, fake: Tensor) -> Tensor:
        """Return -E_fake[log σ(s)], () in nats, from logits, (batch,); `real` is not used."""
        return -logsigmoid(fake).mean()
