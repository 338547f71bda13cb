"""Interleaved timing in one process: each round times every candidate, and ratios are computed per round.

Other work that slows the machine down for a while slows all candidates of a round, so the median of the rounds'
ratios is more robust than the ratio of two separate timings.
"""

from __future__ import annotations

import gc
import statistics
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

import torch


@dataclass(frozen=True)
class Timing:
    """Seconds per call of each candidate, round by round.

    Args:
        seconds: wall-clock seconds per call by candidate, one number per round.
        processor: CPU seconds per call (all threads together), likewise.
    """

    seconds: dict[str, list[float]]
    processor: dict[str, list[float]]

    def median(self, name: str) -> float:
        """Return the median seconds per call."""
        return statistics.median(self.seconds[name])

    def ratio(self, name: str, reference: str) -> Ratio:
        """Return the time of `name` divided by that of `reference`: median and quartiles over the rounds."""
        return ratio_of(self.seconds[name], self.seconds[reference])

    def processor_ratio(self, name: str, reference: str) -> Ratio:
        """Return the same ratio in CPU seconds, as a check against a busy machine."""
        return ratio_of(self.processor[name], self.processor[reference])


@dataclass(frozen=True)
class Ratio:
    """A median of ratios with its quartiles."""

    median: float
    low: float
    high: float

    def inverse(self) -> Ratio:
        """Return the inverse ratio: a speed-up instead of a share of time."""
        return Ratio(1 / self.median, 1 / self.high, 1 / self.low)

    def times(self, factor: float) -> Ratio:
        """Return the ratio multiplied by a factor."""
        return Ratio(self.median * factor, self.low * factor, self.high * factor)

    def __str__(self) -> str:
        return f"{self.median:.2f} ({self.low:.2f}–{self.high:.2f})"


def ratio_of(seconds: list[float], reference: list[float]) -> Ratio:
    """Return the ratio of two lists of times, round by round."""
    ratios = [a / b for a, b in zip(seconds, reference, strict=True)]
    if len(ratios) < 2:
        return Ratio(ratios[0], ratios[0], ratios[0])
    low, median, high = statistics.quantiles(ratios, n=4, method="inclusive")
    return Ratio(median, low, high)


def interleave(
    candidates: Mapping[str, Callable[[], object]], rounds: int, budget: float = 0.2, warm_up: int = 3
) -> Timing:
    """Time every candidate in every round, rotating the order from round to round.

    Args:
        candidates: functions to time by name; one call is one unit of work.
        rounds: number of repetitions.
        budget: seconds that a candidate's calls in one round should fill; at least one call is made.
        warm_up: calls before the first round, which also determine the number of calls per round.
    """
    calls_per_round: dict[str, int] = {}
    for name, call in candidates.items():
        for _ in range(warm_up):
            start = time.perf_counter()
            call()
            calls_per_round[name] = max(1, round(budget / (time.perf_counter() - start)))
    timing = Timing({name: [] for name in candidates}, {name: [] for name in candidates})
    names = list(candidates)
    gc.collect()
    for round_index in range(rounds):
        shift = round_index % len(names)
        for name in [*names[shift:], *names[:shift]]:
            wall, processor = time.perf_counter(), time.process_time()
            for _ in range(calls_per_round[name]):
                candidates[name]()
            timing.processor[name].append((time.process_time() - processor) / calls_per_round[name])
            timing.seconds[name].append((time.perf_counter() - wall) / calls_per_round[name])
    return timing


@contextmanager
def threads(count: int) -> Iterator[None]:
    """Let PyTorch use `count` threads in this context."""
    previous = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(previous)
