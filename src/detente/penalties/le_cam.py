"""LeCam regularisation: keeps the scores of real and of fake samples near the past average of the other."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import relu
from torch.utils._pytree import tree_leaves

from detente.errors import require
from detente.penalties.base import Penalty
from detente.schedules.base import Schedule, number, require_at_least_zero


@dataclass(frozen=True)
class LeCam(Penalty):
    """Squared distance of real scores above the average fake score, and of fake scores below the average real score.

    λ (E_real[max(0, s - α_F)²] + E_fake[max(0, α_R - s)²]).

    The anchors α_R and α_F are moving averages of the mean scores: α ← β α + (1 - β) E[s], with the bias towards the
    initial zero removed. The term uses the anchors of the evaluations before, so it is 0 in the first one, and anchors
    are constants without cutting any graph; the code's anchors contain the present scores, as constants. As in the
    code, only the excess max(0, ·) is squared; the paper squares the difference.

    For maps of scores, expectations are also over all elements; for several maps, the terms of the maps are added, and
    all have the same anchors, their mean over the maps.

    In your own losses: `term = le_cam.at(t, buffers=anchors).regularization(real, fake)` and
    `anchors = le_cam.updated_buffers(anchors, real, fake)`, with `le_cam.initial_buffers(like)` at the start.

    Args:
        strength: λ, at least 0, or a schedule: 0.3 for the hinge loss on CIFAR-10.
        decay: β, in [0, 1).

    Raises:
        InvalidValue: `strength` is negative or not finite, or `decay` is not in [0, 1).

    Source: Tseng et al. 2021, Regularizing Generative Adversarial Networks under Limited Data (arXiv:2104.03310),
        equations 4-5; code (google/lecam-gan, `lecam_reg`; debiased averages as in `stylegan2/lecam_loss.py`).
    """

    strength: float | Schedule = 0.3
    decay: float = 0.99

    def __post_init__(self) -> None:
        require_at_least_zero(self, "strength")
        require(0 <= self.decay < 1, "decay", self.decay, "a number in [0, 1)")

    @property
    def differentiates(self) -> bool:
        """False: the penalty only reads scores."""
        return False

    def initial_buffers(self, like: Tensor) -> dict[str, Tensor]:
        """Return `{"anchors": (3,)}`: decaying sums of the mean real scores, of the fake ones, and of the weights."""
        return {"anchors": like.new_zeros(3, dtype=torch.promote_types(like.dtype, torch.float32))}

    def updated_buffers(self, buffers: Mapping[str, Tensor], real: Any, fake: Any) -> dict[str, Tensor]:
        """Return the anchors after one evaluation, given the scores of real and fake samples."""
        means = [torch.stack([scores.mean() for scores in tree_leaves(side)]).mean() for side in (real, fake)]
        latest = torch.stack([*means, torch.ones_like(means[0])]).to(buffers["anchors"].dtype)
        return {"anchors": torch.lerp(latest, buffers["anchors"], self.decay)}

    def regularization(self, real: Any, fake: Any) -> Tensor:
        """Return the term, (), from the scores of real and fake samples, and the anchors that `at` received."""
        anchors = (self.memory or self.initial_buffers(tree_leaves(real)[0]))["anchors"]
        known = anchors[2] > 0
        real_anchor, fake_anchor = (anchors[:2] / torch.where(known, anchors[2], 1.0)).unbind()
        above = [relu(scores - fake_anchor.to(scores.dtype)).square().mean() for scores in tree_leaves(real)]
        below = [relu(real_anchor.to(scores.dtype) - scores).square().mean() for scores in tree_leaves(fake)]
        return number("strength", self.strength) * torch.where(known, torch.stack([*above, *below]).sum(), 0.0)

    def __call__(self, score: Callable[[Tensor], Any], real: Tensor, fake: Tensor, noise: dict[str, Tensor]) -> Tensor:
        """Return the term, (), for samples (batch, …)."""
        return self.regularization(score(real), score(fake))
