"""Whether the samples are the data up to scale and shift."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from detente.checks.base import Finding
from detente.signals.base import STILL, History, Observation, Signal, finite, measured


@dataclass(frozen=True)
class AffineMap(Signal):
    """The distance of the samples to the data after one scale and one shift, a x + b, for all numbers of a sample.

    Args:
        gain: share of its distance that may be left for a map to explain it.
        scale: factor by which scales must differ.
        shift: shift, in deviations of the data, by which the means must differ.
        remote: factor, or shift in deviations, that is beyond what training removes.

    Source: the signature "an affine map takes samples onto data" of public reports.
    """

    gain: float = 0.3
    scale: float = 1.6
    shift: float = 3.0
    remote: float = 30.0

    def __call__(self, observation: Observation) -> Mapping[str, float]:
        """Return the map, and the distances without and with it."""
        samples, real = observation.samples.double(), observation.seen.double()
        spread, deviation = float(samples.std()), float(real.std())
        if not math.isfinite(spread) or min(spread, deviation) < 1e-9:
            return {}
        factor = deviation / spread
        offset = float((real.mean() - samples.mean()) / deviation)
        values = {"factor": factor, "offset": offset, "numbers": float(real[0].numel())}
        if self._differs(factor, offset):
            mapped = (samples[::2] - samples.mean()) * factor + real.mean()
            values["mapped_distance"] = observation.reference.quality(mapped).distance
        return measured(values)

    def findings(self, history: History) -> Sequence[Finding]:
        """Return a fault of scale that training does not remove."""
        mapped, before = (finite(history.late(x, 0.3)) for x in ("affine_map.mapped_distance", "spread.distance"))
        factor, offset = (finite(history.late(f"affine_map.{x}", 0.3)) for x in ("factor", "offset"))
        still = history.reach is not None and history.reach < STILL  # nothing has been learned, not even a scale
        if min(len(factor), len(offset)) < 3 or not history.stuck or still:
            return []
        distance = float(np.median(before)) if len(before) else 3.0
        size, shift, numbers = float(np.median(factor)), float(np.median(offset)), finite(history["affine_map.numbers"])
        remedy = "Use the same range for data and generator outputs: images in [−1, 1] with tanh, or standardised data."
        first = finite(history["affine_map.offset"])[0]
        if np.abs(offset).min() > self.remote and abs(first) > 0.5 * abs(shift):  # it did not run away from the data
            evidence = f"The samples' mean is still {abs(shift):.3g} deviations of the data away from the data's."
            return [Finding("data scale", evidence, 0.78, remedy)]
        few = len(numbers) > 0 and numbers[-1] < 4  # a few numbers are easily mapped
        extreme = max(size, 1 / size) > self.remote
        steady = max(factor) < (2 if extreme else 1.3) * min(factor) and np.ptp(offset) < 0.3 * max(1.0, abs(shift))
        left = float(np.median(mapped)) / distance if len(mapped) >= 3 else 1.0
        if (
            not self._differs(size, shift)
            or not steady
            or left > (2 if extreme else 1) * self.gain
            or (few and extreme)
        ):
            return []
        evidence = (
            f"Multiplied by {size:.3g} and shifted by {shift:.2g} deviations, the samples are {np.median(mapped):.2g} "
            f"from the data instead of {distance:.2g}."
        )
        return [Finding("data scale", evidence, 0.6 if few else 0.82, remedy)]

    def _differs(self, factor: float, offset: float) -> bool:
        """Whether the scales are so different that training should have removed it."""
        return max(factor, 1 / factor) > self.scale or abs(offset) > self.shift
