"""Standard units for the networks, the data's units for samples."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from detente.cures.base import Case, Change, Cure


class Rescale(Cure):
    """Let the networks work in standard units: G'(z) = a + b G(z), D'(x) = D((x − a)/b).

    It removes the cause of a failure by the data's scale, so every trial starts with it. It applies if such a
    failure is found, and to all data that are far from standard units.

    Source: LeCun, Bottou, Orr & Müller 1998, Efficient BackProp, section 4.3.
    """

    title: ClassVar[str] = "Let the networks work in standard units"
    treats: ClassVar[Mapping[str, float]] = {
        "data scale": 0.95,
    }
    certain: ClassVar[bool] = True

    def __call__(self, case: Case) -> Change | None:
        """Return the change, or None if it does not apply."""
        return Change({"rescale": True}) if case.rescales else None
