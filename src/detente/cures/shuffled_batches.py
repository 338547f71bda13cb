"""Draw samples in random order."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from detente.checks.base import Setup
from detente.checks.data_order import DataOrder
from detente.cures.base import SURE, Case, Change, Cure


class ShuffledBatches(Cure):
    """Shuffle the samples of a DataLoader or another iterable that yields them in sorted order.

    Source: Bottou 2012, Stochastic Gradient Descent Tricks, section 3.1 (shuffle the examples).
    """

    title: ClassVar[str] = "Shuffle the samples"
    treats: ClassVar[Mapping[str, float]] = {"sampling": 0.9}
    certain: ClassVar[bool] = True

    def __call__(self, case: Case) -> Change | None:
        """Return the change, or None if it does not apply."""
        sorted_ = case.sure("sampling") >= SURE and bool(DataOrder()(Setup(case.game, case.method)))
        return Change({"shuffle": True}) if sorted_ else None
