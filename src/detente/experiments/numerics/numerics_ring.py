"""The Numerics of GANs, figure 2: a ring of eight Gaussians under simultaneous gradient and under consensus."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from detente import methods
from detente.experiments.base import Claim, Experiment, Findings, Track
from detente.experiments.support.interval_estimate import Estimate, above, at_least, below
from detente.experiments.support.resumable_training import train_or_resume
from detente.games import presets
from detente.training.run import Run

if TYPE_CHECKING:
    from matplotlib.figure import Figure

METHODS = {"simultaneous": methods.simultaneous(), "consensus": methods.consensus(10.0)}


class NumericsRing(Experiment):
    """Simultaneous gradient jumps from mode to mode; consensus converges."""

    title = "Ring of 8 Gaussians: simultaneous gradient and consensus optimisation"
    paper = "Mescheder, Nowozin & Geiger 2017, The Numerics of GANs"
    figure = "figure 2"
    deviations = (
        "Batch 512 with 64 samples of each mode, as in the authors' notebook; the paper does not say.",
        "Points are drawn, not densities; modes are counted by the 3σ rule on 2,048 samples, not by eye.",
    )
    shared = ("steps", "samples")
    sizes = {
        "smoke": {"steps": 40, "seeds": 2},
        "laptop": {"steps": 20_000, "seeds": 8},
        "paper": {"steps": 20_000, "seeds": 10},
    }
    claims = (
        Claim(
            "Consensus converges to the target: modes covered at the end",
            lambda findings: Estimate.median(findings["consensus"]["modes"][:, -1], "of 8 modes"),
            at_least(7),
            "all 8 (picture)",
        ),
        Claim(
            "Simultaneous gradient fails to converge: modes covered at the end, less those of consensus",
            lambda findings: Estimate.difference(
                findings["simultaneous"]["modes"][:, -1], findings["consensus"]["modes"][:, -1]
            ),
            below(0),
            "fewer (picture)",
        ),
        Claim(
            "Simultaneous gradient jumps around: mean change of modes covered between two looks in the second half, "
            "less that of consensus",
            lambda findings: Estimate.difference(
                _mean_change(findings["simultaneous"]["modes"]), _mean_change(findings["consensus"]["modes"])
            ),
            above(0),
            "jumps (picture)",
        ),
    )

    def conduct(self, folder: Path, track: Track, **size: Any) -> Findings:
        """Train with both methods, and return modes covered over time and the first seed's samples at four steps."""
        findings: Findings = {}
        steps = size["steps"]
        for name, method in METHODS.items():
            run = Run(presets.ring(), method, steps, size["seeds"], measure_every=steps // 20)
            training = train_or_resume(run, folder / name, track)
            evaluation_steps, modes = training.curve("modes_covered")
            plot_steps = [0, steps // 4, steps // 2, steps]
            findings[name] = {
                "steps": evaluation_steps,
                "modes": modes,
                "samples": {t: training.samples(run.seeds[0], t) for t in plot_steps},
            }
        return findings

    def draw(self, findings: Findings, figure: Figure) -> None:
        """Draw each method's samples at four steps, and its modes covered over time."""
        grid = figure.add_gridspec(len(findings), 5, width_ratios=[1, 1, 1, 1, 1.4])
        for row, (name, result) in enumerate(findings.items()):
            for column, (step, samples) in enumerate(result["samples"].items()):
                axes = figure.add_subplot(grid[row, column], aspect="equal", xlim=(-1.6, 1.6), ylim=(-1.6, 1.6))
                axes.scatter(*samples["real"].T, s=1, color="C3", alpha=0.4)
                axes.scatter(*samples["fake"].T, s=1, color="C0", alpha=0.4)
                axes.set(xticks=[], yticks=[], title=f"step {step:,}", ylabel=name if column == 0 else "")
            axes = figure.add_subplot(grid[row, 4], ylim=(0, 8.3), title="modes covered")
            axes.plot(result["steps"], result["modes"].T, lw=0.8)


def _mean_change(modes: np.ndarray) -> np.ndarray:
    return np.abs(np.diff(modes[:, modes.shape[1] // 2 :], axis=1)).mean(1)
