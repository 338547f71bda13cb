"""Less certainty about real samples."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from detente.cures.base import Case, Change, Cure
from detente.objectives.label_smoothing import LabelSmoothing
from detente.objectives.non_saturating import NonSaturating


class SmoothLabels(Cure):
    """Use 0.9 instead of 1 as the discriminator's target for real samples.

    Source: Salimans et al. 2016 (arXiv:1606.03498), section 3.4.
    """

    title: ClassVar[str] = "Smooth labels of real samples"
    treats: ClassVar[Mapping[str, float]] = {
        "discriminator overpowers": 0.15,
        "vanishing gradient": 0.15,
        "labels ignored": 0.2,
    }

    def __call__(self, case: Case) -> Change | None:
        """Return the change, or None if it does not apply."""
        applies = case.adversarial and type(case.game.objective) is NonSaturating
        return Change({"objective": LabelSmoothing()}) if applies else None
