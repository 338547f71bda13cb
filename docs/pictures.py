"""Draws the documentation's pictures from a comparison's run directory: `python docs/pictures.py runs/ring`.

It is made by this command:

    detente compare --game ring --seeds 0 1 2 3 4 5 --steps 5000 --out runs/ring \
        --methods simultaneous:learning_rate=3e-4 alternating:learning_rate=1e-3 consensus:learning_rate=1e-3
"""

from __future__ import annotations

import argparse
import json
import sys
from collections import defaultdict
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from scipy import stats

PICTURES = Path(__file__).parent / "pictures"
ROWS, STEPS, SEED = ("simultaneous", "consensus"), (0, 2000, 3500, 5000), 0
METRICS = {"modes_covered": "modes covered (of 8)", "good_share": "samples near a mode, %"}
COLOURS = ("#0072B2", "#009E73", "#D55E00")


def before_and_after(folder: Path) -> Figure:
    """Draw one row per method and one column per step.

    Args:
        folder: of a comparison on a game of points in the plane.
    """
    figure = Figure(figsize=(1.75 * len(STEPS), 1.85 * len(ROWS)), dpi=110, layout="constrained")
    for row, method in zip(figure.subplots(len(ROWS), len(STEPS)), ROWS, strict=True):
        (run,) = folder.glob(f"{method}-*")
        row[0].set_ylabel(method, fontsize=11)
        modes = _read(run / "metrics.jsonl", "modes_covered")
        for axes, step in zip(row, STEPS, strict=True):
            _draw_samples(axes, run / "samples" / f"seed{SEED}-step{step:08d}.npz")
            axes.set_title(f"step {step:,}: {modes[step][SEED]:.0f} modes", fontsize=9)
    return figure


def curves(folder: Path) -> Figure:
    """Draw one panel per metric: each method's mean over seeds with its 95 % interval.

    Args:
        folder: of a comparison.
    """
    figure = Figure(figsize=(8, 2.8), dpi=110, layout="constrained")
    runs = sorted(path.parent for path in folder.glob("*/metrics.jsonl"))
    for axes, (metric, label) in zip(figure.subplots(1, len(METRICS)), METRICS.items(), strict=True):
        for run, colour in zip(runs, COLOURS, strict=True):
            by_step = _read(run / "metrics.jsonl", metric)
            steps, values = list(by_step), np.array(list(by_step.values()))
            seeds = values.shape[1]
            mean = values.mean(1)
            half = stats.t.ppf(0.975, seeds - 1) * values.std(1, ddof=1) / np.sqrt(seeds)
            axes.plot(steps, mean, color=colour, label=run.name.partition("-")[0])
            axes.fill_between(steps, mean - half, mean + half, color=colour, alpha=0.13, linewidth=0)
        axes.set(xlabel="step", ylabel=label, ylim=(0, 8.4 if metric == "modes_covered" else 100))
        axes.spines[["top", "right"]].set_visible(False)
    figure.axes[0].legend(frameon=False, fontsize=9, loc="lower right")
    return figure


def _draw_samples(axes: Axes, path: Path) -> None:
    """Draw generated points over real ones and over the discriminator's scores."""
    arrays = np.load(path)
    x0, x1, y0, y1 = arrays["extent"]
    axes.contourf(
        np.linspace(x0, x1, 48), np.linspace(y0, y1, 48), arrays["levels"], levels=12, cmap="Greys", alpha=0.35
    )
    axes.scatter(*arrays["real"].T, s=6, color="#0072B2", linewidths=0)
    axes.scatter(*arrays["fake"].T, s=3, color="#D55E00", linewidths=0, alpha=0.8)
    axes.set(xlim=(x0, x1), ylim=(y0, y1), xticks=(), yticks=(), aspect="equal")


def _read(path: Path, metric: str) -> dict[int, list[float]]:
    """Read one metric's values of all seeds by step."""
    values = defaultdict(list)
    for line in path.read_text(encoding="utf-8").splitlines():
        record = json.loads(line)
        if metric in record.get("metrics", {}):
            values[record["step"]].append(record["metrics"][metric])
    return values


def main() -> int:
    """Draw both pictures into docs/pictures."""
    parser = argparse.ArgumentParser(description="Draw the documentation's pictures from a comparison.")
    parser.add_argument("folder", type=Path, help="the comparison, with snapshots of six seeds")
    folder = parser.parse_args().folder
    PICTURES.mkdir(exist_ok=True)
    before_and_after(folder).savefig(PICTURES / "ring.png")
    curves(folder).savefig(PICTURES / "comparison.png")
    return 0


if __name__ == "__main__":
    sys.exit(main())
