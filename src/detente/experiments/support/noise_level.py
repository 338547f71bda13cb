"""Change over a training of the noise that a method injects."""

from __future__ import annotations

import numpy as np


def noise_decay(level: np.ndarray) -> float:
    """Return the mean of the last tenth of a noise level, (records,), divided by that of its first tenth."""
    tenth = max(1, len(level) // 10)
    return float(level[-tenth:].mean() / level[:tenth].mean())
