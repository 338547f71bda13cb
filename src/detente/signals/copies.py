"""Generated samples that are copies of training samples."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from detente.checks.base import Finding
from detente.signals.base import History, Observation, Signal, finite, measured
from detente.signals.reference import distances_to_nearest


@dataclass(frozen=True)
class Copies(Signal):
    """Distances from the samples to the nearest seen real sample, relative to those between real samples.

    Args:
        near: median distance, relative to that between real samples, below which samples are copies.
        distinct: share of different real samples among the seen ones below which the set is small.

    Source: Meehan, Chaudhuri & Dasgupta 2020, A Non-Parametric Test to Detect Data-Copying (arXiv:2004.05675).
    """

    near: float = 0.3
    distinct: float = 0.9

    def __call__(self, observation: Observation) -> Mapping[str, float]:
        """Return the relative distance, the share of near copies and that of distinct real samples."""
        real = observation.seen.double().flatten(1)
        unique = real.unique(dim=0)
        values = {"distinct": len(unique) / len(real)}
        if observation.held_out is not None:
            others = observation.held_out.double().flatten(1)
        else:
            others, unique = unique[::2], unique[1::2]
        usual = float(distances_to_nearest(others, unique).median()) if min(len(others), len(unique)) >= 4 else 0.0
        if usual > 1e-9:
            nearest = distances_to_nearest(observation.samples.double().flatten(1), unique) / usual
            values |= {"distance": float(nearest.median()), "share": float((nearest < 0.1).double().mean())}
        return measured(values)

    def findings(self, history: History) -> Sequence[Finding]:
        """Return copies of a small set."""
        distances, distinct = (finite(history.late(f"copies.{x}", 0.3)) for x in ("distance", "distinct"))
        variance = finite(history.late("spread.variance", 0.3))
        if len(distances) < 2 or not len(distinct) or (len(variance) and np.median(variance) < 0.1):
            return []
        if distances.max() < self.near and distinct[-1] < self.distinct:
            evidence = (
                f"The samples are {np.median(distances):.2g} as far from training samples as other real samples are: "
                "they are copies."
            )
            remedy = "Use more data, or augmentation as a filter."
            return [Finding("too few data", evidence, 0.85, remedy)]
        return []
