"""Timing by interleaved repetition in one process: each round times every candidate, and ratios are taken per round.

A neighbour that slows the machine down for a while slows all candidates of the rounds it touches, so the median of
the rounds' ratios stands where a ratio of two separate timings does not.
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
    """Seconds of one call of each candidate, round by round.

    Args:
        seconds: wall-clock seconds a call, by candidate, one number a round.
        processor: processor seconds a call (all threads together), likewise.
    """

    seconds: dict[str, list[float]]
    processor: dict[str, list[float]]

    def median(self, name: str) -> float:
        """Return the median of seconds a call."""
        return statistics.median(self.seconds[name])

    def ratio(self, name: str, reference: str) -> Ratio:
        """Return how long `name` takes beside `reference`: the median of the rounds' ratios, and their quartiles."""
        return _ratio(self.seconds[name], self.seconds[reference])

    def processor_ratio(self, name: str, reference: str) -> Ratio:
        """Return the same in processor seconds, the check against a busy machine."""
        return _ratio(self.processor[name], self.processor[reference])


@dataclass(frozen=True)
class Ratio:
    """A median of ratios, with the quartiles as its spread."""

    median: float
    low: float
    high: float

    def inverse(self) -> Ratio:
        """Return the ratio the other way round: a speed-up instead of a share of time."""
        return Ratio(1 / self.median, 1 / self.high, 1 / self.low)

    def times(self, factor: float) -> Ratio:
        """Return the ratio in other units."""
        return Ratio(self.median * factor, self.low * factor, self.high * factor)

    def __str__(self) -> str:
        return f"{self.median:.2f} ({self.low:.2f}–{self.high:.2f})"


def _ratio(seconds: list[float], reference: list[float]) -> Ratio:
    ratios = [a / b for a, b in zip(seconds, reference, strict=True)]
    if len(ratios) < 2:
        return Ratio(ratios[0], ratios[0], ratios[0])
    low, median, high = statistics.quantiles(ratios, n=4, method="inclusive")
    return Ratio(median, low, high)


def interleave(
    candidates: Mapping[str, Callable[[], object]], rounds: int, budget: float = 0.2, warm_up: int = 3
) -> Timing:
    """Return the timing of every candidate in every round, the order turning from round to round.

    Args:
        candidates: what to time, by name; a call is one unit of work.
        rounds: repetitions.
        budget: seconds that a candidate's calls in one round should fill; at least one call is made.
        warm_up: calls before the first round, which also set the number of calls a round.
    """
    calls: dict[str, int] = {}
    for name, call in candidates.items():
        for _ in range(warm_up):
            began = time.perf_counter()
            call()
            calls[name] = max(1, round(budget / (time.perf_counter() - began)))
    timing = Timing({name: [] for name in candidates}, {name: [] for name in candidates})
    names = list(candidates)
    gc.collect()
    for turn in range(rounds):
        shift = turn % len(names)
        for name in [*names[shift:], *names[:shift]]:
            wall, processor = time.perf_counter(), time.process_time()
            for _ in range(calls[name]):
                candidates[name]()
            timing.processor[name].append((time.process_time() - processor) / calls[name])
            timing.seconds[name].append((time.perf_counter() - wall) / calls[name])
    return timing


@contextmanager
def threads(count: int) -> Iterator[None]:
    """Within this context PyTorch computes on `count` threads."""
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)
