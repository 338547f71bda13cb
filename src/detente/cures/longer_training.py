"""More steps."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from detente.cures.base import Case, Change, Cure


class LongerTraining(Cure):
    """Change nothing: the training has not converged yet.

    Source: devnag/pytorch-generative-adversarial-networks, issue 7 (right mean, wrong shape, cured by longer training).
    """

    title: ClassVar[str] = "Train longer"
    treats: ClassVar[Mapping[str, float]] = {
        "healthy": 0.5,
    }

    def __call__(self, case: Case) -> Change | None:
        """Return the change, or None if it does not apply."""
        ill = [finding for finding in case.findings if finding.failure != "healthy"]
        return None if ill else Change()
