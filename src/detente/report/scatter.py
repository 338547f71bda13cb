"""Scatter plots of points in the plane."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from matplotlib.figure import Figure


def scatter_picture(fake: np.ndarray, real: np.ndarray, out: Path) -> Path:
    """Save a scatter plot of generated points over real points.

    Args:
        fake: generated points, (n, 2).
        real: real points, (m, 2).
        out: file to write; its suffix decides the format.

    Returns:
        `out`.
    """
    figure = Figure(figsize=(5, 5), dpi=150, layout="constrained")
    axes = figure.add_subplot()
    axes.scatter(real[:, 0], real[:, 1], s=14, color="#b0b0b0", label="real", linewidths=0)
    axes.scatter(fake[:, 0], fake[:, 1], s=8, color="#0072b2", label="generated", linewidths=0)
    axes.set_aspect("equal")
    axes.legend(loc="upper right", frameon=False)
    axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(out)
    return out
