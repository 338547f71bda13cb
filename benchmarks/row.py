"""One line of the table: what was measured, what was hoped for, and whether it was reached."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Literal

from benchmarks.timing import Ratio


@dataclass(frozen=True)
class Row:
    """One measured number beside its target.

    Args:
        what: in words.
        median: the measured number, a ratio unless `unit` says otherwise.
        low: its lower quartile over the rounds.
        high: its upper quartile over the rounds.
        target: what it should be, if anything was promised.
        sense: whether it should be at most or at least the target.
        detail: absolute numbers, and anything that qualifies the measurement.
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
        """Whether the median reaches the target: "reached", "missed", or nothing where nothing was promised."""
        if self.target is None:
            return ""
        reached = self.median <= self.target if self.sense == "at most" else self.median >= self.target
        return "reached" if reached else "**missed**"

    def record(self) -> dict[str, Any]:
        """Return the row as plain data."""
        return asdict(self)


def milliseconds(seconds: float) -> str:
    """Return a time in milliseconds, three digits."""
    return f"{seconds * 1e3:.3g} ms"
