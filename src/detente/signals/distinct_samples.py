"""How many different samples the generator makes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from torch import Tensor

from detente.checks.base import Finding
from detente.signals.base import History, Observation, Signal, finite


@dataclass(frozen=True)
class DistinctSamples(Signal):
    """Share of different samples among 512 generated and as many real ones, up to 1/1000 of the data's deviation.

    Args:
        few: share of different samples, relative to that of real ones, below which the generator makes a few only.
        varied: variance relative to the data's from which samples are not all the same, which is called otherwise.

    Source: Arora & Zhang 2018, Do GANs Learn the Distribution? (arXiv:1706.08224), the support size by duplicates.
    """

    few: float = 0.2
    varied: float = 0.05

    def __call__(self, observation: Observation) -> Mapping[str, float]:
        """Return both shares."""
        deviation = observation.seen.double().flatten(1).std(0)
        unit = float(deviation[deviation > 0].median()) / 1000 if bool((deviation > 0).any()) else 1e-3
        return {"fake": _share(observation.samples, unit), "real": _share(observation.seen, unit)}

    def findings(self, history: History) -> Sequence[Finding]:
        """Return a generator of a few samples."""
        fake, real = (finite(history.late(f"distinct_samples.{name}", 0.3)) for name in ("fake", "real"))
        variance = finite(history.late("spread.variance", 0.3))
        if len(fake) < 2 or not len(real) or not len(variance) or np.median(variance) < self.varied:
            return []
        share, usual = float(fake.max()), float(np.median(real))
        if share >= self.few * usual:
            return []
        evidence = f"Only {share:.1%} of the samples are different, of the real ones {usual:.0%}."
        return [Finding("collapse", evidence, 0.85, "Give the generator latents with a density, such as torch.randn.")]


def _share(samples: Tensor, unit: float) -> float:
    """Return the share of samples that are different up to a unit."""
    return len((samples.double().flatten(1) / unit).round().unique(dim=0)) / len(samples)
