"""Whether the generator's outputs can reach the data, and no more."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor

from detente.checks.base import Check, Finding, Setup
from detente.modules.output_range import bounds


@dataclass(frozen=True)
class OutputRange(Check):
    """A generator with bounded outputs (tanh, sigmoid, ReLU) whose bounds do not fit the data's range.

    The range is found by multiplying all parameters by up to 64, which saturates the last layer.

    Args:
        outside: largest accepted share of data values out of reach.
        unused: largest accepted share of the reachable range that the data do not use.

    Source: fchollet/deep-learning-with-python-notebooks issue 7 (tanh against data in [0, 1]).
    """

    outside: float = 0.01
    unused: float = 0.3

    def __call__(self, setup: Setup) -> Sequence[Finding]:
        """Return at most one finding."""
        low, high = bounds(setup.generated_at_scales)
        if low is None and high is None:
            return []
        values = setup.real.double().flatten()
        if values.numel() > 2**22:
            values = values[:: values.numel() // 2**22 + 1]
        smallest, largest = float(values.min()), float(values.max())
        outside = [_outside(values, low, high, margin * float(values.std())) for margin in (0.02, 0.2)]
        reach = f"from {'-∞' if low is None else f'{low:.3g}'} to {'∞' if high is None else f'{high:.3g}'}"
        data = f"the data are between {smallest:.3g} and {largest:.3g}"
        remedy = "Scale the data to the generator's range, or change its last activation."
        if outside[0] > self.outside:
            evidence = f"The generator's outputs range {reach}, but {data}: {outside[0]:.0%} of them are out of reach."
            return [Finding("data scale", evidence, 0.95 if outside[1] > self.outside else 0.5, remedy)]
        if low is not None and high is not None:
            unused = 1 - (largest - smallest) / (high - low)
            if unused > self.unused:
                evidence = f"The generator's outputs range {reach}, but {data}: they use {1 - unused:.0%} of it."
                return [Finding("data scale", evidence, 0.75, remedy)]
        return []


def _outside(values: Tensor, low: float | None, high: float | None, margin: float) -> float:
    """Return the share of values that are out of reach by more than a margin."""
    below = float((values < low - margin).double().mean()) if low is not None else 0.0
    above = float((values > high + margin).double().mean()) if high is not None else 0.0
    return below + above
