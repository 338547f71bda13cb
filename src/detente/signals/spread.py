"""How far the samples spread, compared with the data."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from detente.checks.base import Finding
from detente.signals.base import TREND, History, Observation, Signal, finite, measured

NOTHING = 1e-8  # variance of samples that are all the same, up to rounding


@dataclass(frozen=True)
class Spread(Signal):
    """Variance, coverage and precision of the samples, and their distance to the data.

    A generator has collapsed if its samples vary much less than the data and do not vary more with time, or if they
    are good but only in a small part of the data's cells. What still rises is not collapsed.

    Args:
        collapsed: variance relative to the data's below which samples have collapsed.
        narrow: variance below which samples have probably collapsed.
        few: share of cells below which precise samples miss modes.
        part: share of cells below which samples that are far away miss modes.
        away: distance from which they are.

    Source: the signature "losses look ideal, sample variance far below the data's" of public reports; Naeem et al.
        2020, Reliable Fidelity and Diversity Metrics (arXiv:2002.09797), section 3, for coverage.
    """

    collapsed: float = 0.05
    narrow: float = 0.25
    few: float = 0.35
    part: float = 0.75
    away: float = 0.3

    def __call__(self, observation: Observation) -> Mapping[str, float]:
        """Return the numbers of the samples' quality."""
        quality = observation.quality
        logarithm = math.log10(max(quality.variance, 1e-12)) if quality.variance >= 0 else math.nan
        return measured({**vars(quality), "score": quality.score, "log_variance": logarithm})

    def findings(self, history: History) -> Sequence[Finding]:
        """Return a collapse."""
        variance = finite(history["spread.variance"])
        if len(variance) < 4:
            return []
        last, peak = float(np.median(finite(history.late("spread.variance", 0.25)))), float(variance.max())
        highest = float(finite(history.late("spread.variance")).max())
        rising = self._rising(history)
        if highest < NOTHING or (highest < self.collapsed and not rising and not history.unformed):
            certainty = 0.92 if highest < 0.2 * self.collapsed or peak > 4 * highest else 0.9
            return [_collapse(f"The samples' variance is {last:.2g} of the data's and does not rise", certainty)]
        recovering = history.unformed or rising or (history.improving and last >= 0.5 * peak)
        if last < self.narrow and highest < 2 * self.narrow and not recovering:
            fallen = f", after {peak:.2g} before" if peak > 2 * last else ""
            certainty = (0.75 if fallen else 0.65) if last < 0.5 * self.narrow else 0.55
            return [_collapse(f"The samples' variance is only {last:.2g} of the data's{fallen}", certainty)]
        return self._falling(history) or self._missing(history)

    def _falling(self, history: History) -> Sequence[Finding]:
        """Return a collapse under way: a variance that falls so steadily that little of it would be left in the end."""
        variance = finite(history.late("spread.variance"))
        coverage = history.trend("spread.coverage") > TREND and history.expected("spread.coverage") > self.few
        steady = history.trend("spread.log_variance") < -TREND and variance[-1] < 0.5 * variance.max()
        end = history.expected("spread.log_variance")
        if (
            not steady
            or coverage
            or history.unformed
            or variance[-1] > 2 * self.narrow
            or end > math.log10(self.narrow)
        ):
            return []
        evidence = (
            f"The samples' variance falls steadily, from {variance.max():.2g} of the data's to {variance[-1]:.2g}"
        )
        return [_collapse(evidence, 0.55)]

    def _rising(self, history: History) -> bool:
        """Whether the variance rises, also from very little, so that it would reach the data's in the whole run."""
        if history.trend("spread.variance") > TREND and history.expected("spread.variance") > 2 * self.narrow:
            return True
        return history.growing

    def _missing(self, history: History) -> Sequence[Finding]:
        """Return a collapse onto some modes: samples in few cells, which do not become more."""
        cells, precision = finite(history.late("spread.cells")), finite(history.late("spread.precision"))
        variance = finite(history.late("spread.variance", 0.25))
        if not len(cells) or not len(precision) or not history.stuck or history.unformed or history.growing:
            return []
        if len(variance) and np.median(variance) > 2:
            return []  # too wide, not collapsed
        rising = history.trend("spread.cells") > 2 or history.trend("spread.coverage") > 2
        share, precise = float(np.median(cells)), float(np.median(precision))
        if share < self.few and cells.max() < 1.5 * self.few and precise > 0.3 and not rising:
            evidence = (
                f"The samples reach only {share:.0%} of the data's regions, although {precise:.0%} of them look real"
            )
            return [_collapse(evidence, 0.8 if share < 0.5 * self.few else 0.65)]
        distance = float(np.median(finite(history.late("spread.distance")))) if "spread.distance" in history else 0.0
        away = f"The samples reach only {share:.0%} of the data's regions and are {distance:.2g} away from them"
        if share < self.part and distance > self.away and not rising:
            return [_collapse(away, 0.55 if share < self.few else 0.5)]
        return []


def _collapse(evidence: str, certainty: float) -> Finding:
    remedy = (
        "Use objective non_saturating or relativistic with penalties R1 and R2, equal learning rates, and several "
        "samples for each score (packing)."
    )
    return Finding("collapse", f"{evidence}.", certainty, remedy)
