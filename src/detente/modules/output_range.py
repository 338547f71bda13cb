"""The range that a network's outputs can reach."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

SCALES = (1.0, 16.0, 64.0, -16.0, -64.0)  # factors of the parameters, which saturate bounded activations
REACHED = 0.02  # share of the outputs that reach a bound; tanh and sigmoid put about half of them there


def bounds(outputs: Sequence[Tensor]) -> tuple[float | None, float | None]:
    """Return the bounds of a network's outputs; None where there is none.

    A bound is a value that the outputs do not leave, and that some of them reach, when all parameters grow.

    Args:
        outputs: outputs with the parameters multiplied by each of `SCALES`.
    """
    finite = [x.double().flatten() for x in outputs]
    finite = [x[torch.isfinite(x)] for x in finite]
    if any(len(x) == 0 for x in finite):
        return None, None
    before, last = (torch.cat([finite[i], finite[i + 2]]) for i in (1, 2))  # of both signs
    low, high = float(last.min()), float(last.max())
    near = 1e-3 * max(high - low, 1e-12)
    stable = [abs(a - float(b)) <= 1e-3 * max(1.0, abs(a)) for a, b in ((low, before.min()), (high, before.max()))]
    reached = [float(((last - x).abs() <= near).double().mean()) >= REACHED for x in (low, high)]
    if low == high:  # outputs that do not depend on the parameters' scale
        return None, None
    return (low if stable[0] and reached[0] else None), (high if stable[1] and reached[1] else None)
