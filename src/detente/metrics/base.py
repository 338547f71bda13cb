"""The role of a metric: one number that says how good a game is at a state."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import ClassVar, Literal

from detente.game import Game
from detente.metrics.context import EvaluationContext


class Metric(ABC):
    """One number of a game at a state.

    A concrete metric is a frozen dataclass. It draws from `subject.generator` only, changes nothing, and returns NaN
    where the number is not defined (for instance, samples that are not finite).

    `title` and `unit` are what a report writes beside it; `better` says which way is good; `routine` whether
    it is quick enough to be measured along every training.
    """

    title: ClassVar[str]
    unit: ClassVar[str]
    better: ClassVar[Literal["higher", "lower", "none"]]
    routine: ClassVar[bool] = True

    @abstractmethod
    def applies(self, game: Game) -> bool:
        """Return whether the number is defined for `game`."""

    @abstractmethod
    def __call__(self, subject: EvaluationContext) -> float:
        """Return the number for `subject`, whose game it applies to."""


def nonnegative(value: float) -> float:
    """Return the value, 0 where rounding made it negative, and NaN where it is NaN: `max(0.0, nan)` would be 0.0."""
    return 0.0 if value < 0 else value
