"""The base class of metrics: one number that measures a game at a state."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import ClassVar, Literal

from detente.game import Game
from detente.metrics.context import EvaluationContext


class Metric(ABC):
    """One number that measures a game at a state.

    A concrete metric is a frozen dataclass. It draws random numbers only from `subject.generator`, changes nothing, and
    returns NaN if the number is not defined (for instance, if samples are not finite).

    Reports show `title` and `unit`. `better` tells whether higher or lower values are better. `routine` tells whether
    the metric is fast enough to be measured regularly during training.
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
        """Return the number for `subject`; the metric must apply to its game."""


def nonnegative(value: float) -> float:
    """Return the value, or 0 if it is negative by rounding; NaN stays NaN, whereas `max(0.0, nan)` is 0.0."""
    return 0.0 if value < 0 else value
