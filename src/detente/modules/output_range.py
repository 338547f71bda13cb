"""The range that a network's outputs can reach."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

SCALES = (1.0, 4.0, 16.0, 64.0)


def reachable_range(outputs: Callable[[float], Tensor]) -> tuple[float | None, float | None]:
    """Return the bounds of a network's outputs (tanh, sigmoid, ReLU); None where they have none.

    They are found by multiplying all parameters by up to 64, which saturates the last layer.

    Args:
        outputs: returns outputs with all parameters multiplied by a number.
    """
    values = [_finite(outputs(scale)) for scale in SCALES]
    if any(len(each) == 0 for each in values):
        return None, None
    lows, highs = [float(x.min()) for x in values], [float(x.max()) for x in values]
    low = lows[-1] if abs(lows[-1] - lows[-2]) <= 1e-3 * max(1.0, abs(lows[-1])) else None
    high = highs[-1] if abs(highs[-1] - highs[-2]) <= 1e-3 * max(1.0, abs(highs[-1])) else None
    if low is not None and low == high:  # outputs that do not depend on the parameters' scale
        return None, None
    return low, high


def _finite(values: Tensor) -> Tensor:
    values = values.double().flatten()
    return values[torch.isfinite(values)]
