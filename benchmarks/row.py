"""One row of the table: a measurement, its target, and whether the target is reached."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Literal

from benchmarks.timing import Ratio


@dataclass(frozen=True)
class Row:
    """One measured number and its target.

    Args:
        what: description of the measurement.
        median: the measured number, a ratio unless `what` names a unit.
        low: its lower quartile over the rounds.
        high: its upper quartile over the rounds.
        target: the required number, if there is one.
        sense: whether the number must be at most or at least the target.
        detail: absolute numbers, and notes on the measurement.
    """

    what: str
    median: float
    low: float
    high: float
    target: float | None = None
    sense: Literal["at most", "at least"] = "at most"
    detail: str = ""

    @classmethod
    def of(cls, what: str, ratio: Ratio, **rest: Any) -> Row:
        """Return the row of a ratio."""
        return cls(what, ratio.median, ratio.low, ratio.high, **rest)

    @property
    def verdict(self) -> str:
        """Whether the median reaches the target: "reached", "**missed**", or "" without a target."""
        if self.target is None:
            return ""
        reached = self.median <= self.target if self.sense == "at most" else self.median >= self.target
        return "reached" if reached else "**missed**"

    def record(self) -> dict[str, Any]:
        """Return the row as a mapping for JSON."""
        return asdict(self)


def milliseconds(seconds: float) -> str:
    """Return a time in milliseconds with three digits."""
    return f"{seconds * 1e3:.3g} ms"
