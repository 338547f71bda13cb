"""Whether the samples go round: modes visited in turn, or a mean or a spread that swings."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from detente.checks.base import Finding
from detente.signals.base import FAR, History, Observation, Signal, finite, measured

AXES = 3  # directions in which the mean of the samples is followed


@dataclass(frozen=True)
class Oscillation(Signal):
    """The share of samples in each cell of the data, and the samples' mean, from observation to observation.

    A generator visits modes in turn if its shares change by ½ Σ|p_t − p_{t−1}| in the mean, while all times together
    reach many more cells than each one. A mean oscillates if it turns back several times and its range does not shrink.

    Args:
        moving: mean total variation between the shares of two observations from which modes are visited in turn.
        swing: range of the mean, in standard deviations of the data, from which it swings.

    Source: Metz et al. 2017, Unrolled GANs (arXiv:1611.02163), section 3.1; Mescheder et al. 2018, Which Training
        Methods for GANs do actually Converge? (arXiv:1801.04406), section 2.
    """

    moving: float = 0.5
    swing: float = 0.8

    def __call__(self, observation: Observation) -> Mapping[str, float]:
        """Return the shares, the mean and the logarithm of the spread."""
        reference, features = observation.reference, observation.reference.project(observation.samples)
        if not bool(features.isfinite().all()):
            return {}
        scale = reference.features.std(0)
        scale = torch.where(scale > 0, scale, 1.0)  # data that are one point have no size of their own
        mean = ((features.mean(0) - reference.features.mean(0)) / scale)[:AXES]
        shares = {f"cell_{i}": share for i, share in enumerate(reference.shares(observation.samples).tolist())}
        means = {f"mean_{i}": value for i, value in enumerate(mean.tolist())}
        total = reference.features.var(0).sum()
        spread = (features.var(0).sum() / (total if float(total) > 0 else 1.0)).clamp(min=1e-6).log10() / 2
        return measured({**means, "spread": spread, **shares})

    def findings(self, history: History) -> Sequence[Finding]:
        """Return an oscillation, by the modes or by the mean."""
        distances = finite(history.late("spread.distance"))
        if history.improving or (len(distances) and np.median(distances) < FAR):
            return []
        if history.unformed or history.young or history.growing:
            return []  # the samples still look for the data
        findings = [f for f in (self._modes(history), self._mean(history), self._width(history)) if f is not None]
        return [max(findings, key=lambda finding: finding.certainty)] if findings else []

    def _modes(self, history: History) -> Finding | None:
        shares = self._rows(history, "cell_")
        if len(shares) < 4:
            return None
        moved = 0.5 * np.abs(np.diff(shares, axis=0)).sum(1)
        hit = shares > 0.25 / shares.shape[1]
        single, union = float(hit.mean()), float(hit.any(0).mean())
        distances = finite(history.late("spread.distance"))
        if len(distances) and distances.min() < 2 * FAR:
            return None  # all modes are there at some times
        if float(np.median(moved)) < self.moving or union < 1.6 * single or single > 0.5:
            return None
        evidence = (
            f"From one observation to the next, {np.median(moved):.0%} of the samples change their region; together "
            f"the observations reach {union:.0%} of the regions, each one {single:.0%}."
        )
        return _finding(evidence, min(0.85, 0.6 + 0.1 * (union / single - 1.6)), history)

    def _mean(self, history: History) -> Finding | None:
        means = self._rows(history, "mean_", late=0.67)
        if len(means) < 6:
            return None
        axis = int(np.ptp(means[len(means) // 2 :], axis=0).argmax())
        path = means[:, axis]
        half, reach = len(path) // 2, float(np.ptp(path))
        shrinks = np.ptp(path[half:]) < 0.6 * np.ptp(path[:half])
        turns = _turns(path, 0.25 * reach)
        if np.ptp(path[half:]) < self.swing or turns < 2 or shrinks:
            return None
        near = finite(history.late("spread.distance"))
        if len(near) and near.min() < 2 * FAR and (turns < 4 or np.ptp(path[half:]) < 0.8 * np.ptp(path[:half])):
            return None  # around the data, as many young games
        evidence = (
            f"The samples' mean swings by {np.ptp(path[half:]):.2g} standard deviations of the data and turns back "
            f"{turns} times."
        )
        return _finding(evidence, min(0.85, 0.55 + 0.1 * turns), history)

    def _width(self, history: History) -> Finding | None:
        width = finite(history.late("oscillation.spread", 0.67))
        if len(width) < 6:
            return None
        half, turns = len(width) // 2, _turns(width, 0.15)
        shrinks = np.ptp(width[half:]) < 0.5 * np.ptp(width[:half])
        if np.ptp(width[half:]) < 0.3 or turns < 3 or shrinks:
            return None
        evidence = (
            f"The samples' spread swings by a factor of {10 ** np.ptp(width[half:]):.2g} and turns back {turns} times."
        )
        return _finding(evidence, 0.6, history) if history.far else None

    def _rows(self, history: History, prefix: str, late: float = 0.5) -> NDArray[np.float64]:
        names = sorted(name for name in history.values if name.startswith(f"oscillation.{prefix}"))
        if not names:
            return np.zeros((0, 1))
        rows = np.stack([history.late(name, late) for name in names], 1)
        return rows[np.isfinite(rows).all(1)]


def _turns(path: NDArray[np.float64], least: float) -> int:
    """Return how often a path turns back by at least some amount."""
    if least <= 0:
        return 0
    turns, direction, extreme = 0, 0, path[0]
    for value in path[1:]:
        if direction == 0 and abs(value - extreme) >= least:
            direction, extreme = (1 if value > extreme else -1), value
        elif direction * (value - extreme) > 0:
            extreme = value
        elif direction and abs(value - extreme) >= least:
            turns, direction, extreme = turns + 1, -direction, value
    return turns


def _finding(evidence: str, certainty: float, history: History) -> Finding:
    share = finite(history.late("rotation.imaginary_share"))
    if len(share) and float(np.median(share)) > 0.9:
        evidence += f" Near this point the game rotates: |Im λ|/|λ| is {np.median(share):.2f}."
        certainty = min(0.9, certainty + 0.05)
    remedy = (
        "Use penalties R1 and R2, method extragradient, lookahead or consensus, a smaller rate, or Adam with β₁ = 0."
    )
    return Finding("oscillation or limit cycle", evidence, certainty, remedy)
