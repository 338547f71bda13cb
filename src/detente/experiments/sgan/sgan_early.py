"""SGAN, figure 4: ten local WGANs and the global one in the first steps."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.spatial import KDTree

from detente import methods
from detente.experiments.base import Claim, Experiment, Findings, Track
from detente.experiments.support.interval_estimate import Estimate, above
from detente.experiments.support.sgan_toys import (
    AXIS_LIMIT,
    DATA_DEVIATION,
    REGIME_DEVIATION,
    ring_of_gaussians,
    toy_game,
    train_and_evaluate_pairs,
)
from detente.metrics.likelihood import LogLikelihood
from detente.optimizers.adam import Adam
from detente.training.run import Run

if TYPE_CHECKING:
    from matplotlib.figure import Figure

EARLY, FIRST, LATE = (5, 10, 30), 50, (100, 200, 300)
STEPS = (*EARLY, FIRST, *LATE)


def _global_above_mean(step: int) -> Claim:
    return Claim(
        f"The global generator converges quicker: its log-likelihood at {step} less the mean of the local ones",
        lambda findings: Estimate.difference(
            findings[f"{step}"]["likelihood"][:, 0], findings[f"{step}"]["likelihood"][:, 1:].mean(1)
        ),
        above(0),
        "quicker (picture)",
    )


def _quicker(step: int, fold: float) -> Claim:
    late = LATE[-1]
    return Claim(
        f"It is {fold:g} times quicker: its log-likelihood at {step} less the mean of the local ones at {late}",
        lambda findings: Estimate.difference(
            findings[f"{step}"]["likelihood"][:, 0], findings[f"{late}"]["likelihood"][:, 1:].mean(1)
        ),
        above(0),
        "as with N-fold updates" if fold == 10 else "quicker (picture)",
    )


class SganEarly(Experiment):
    """The global generator finds the data before the local ones, and in regions where they are not."""

    title = "10-S-WGAN in its first steps"
    paper = "Chavdarova & Fleuret 2018, SGAN (arXiv:1712.02330)"
    figure = "figure 4"
    deviations = (
        DATA_DEVIATION,
        "Level sets are those of D₀, not of the messengers, which are not kept.",
        REGIME_DEVIATION,
    )
    tried = (
        "An earlier regime, one turn of each discriminator and messenger at rate 3e-3 for at most 200 steps, left the "
        "global generator at one point, because a messenger that is cloned anew for a single turn adapts too little "
        "to it."
    )
    sizes = {
        "smoke": {"pairs": 2, "last": 12, "seeds": 2, "turns": 1, "width": 16, "latent": 4, "batch": 16, "rate": 3e-3},
        "laptop": {"pairs": 10, "seeds": 8, "turns": 5, "width": 64, "latent": 16, "batch": 64, "rate": 1e-3},
        "paper": {"pairs": 10, "seeds": 8, "turns": 5, "width": 512, "latent": 100, "batch": 256, "rate": 1e-5},
    }
    claims = (
        *map(_global_above_mean, (FIRST, *LATE)),
        _quicker(200, 1.5),
        _quicker(30, 10),
        Claim(
            "The same against single ones: share of local generators that the global one surpasses at 300",
            lambda findings: Estimate.median(
                100 * (findings["300"]["likelihood"][:, :1] > findings["300"]["likelihood"][:, 1:]).mean(1),
                "% of generators",
            ),
            above(50),
            "quicker (picture)",
        ),
        Claim(
            "Early samples of the global generator lie apart from those of all local ones: share that does, at 10",
            lambda findings: Estimate.median(
                [_share_apart(samples) for samples in findings["10"]["samples"]], "% of samples"
            ),
            above(50),
            "often do not intersect",
        ),
    )

    def conduct(self, folder: Path, track: Track, **size: Any) -> Findings:
        """Return measurements at the four steps."""
        game = toy_game(ring_of_gaussians(8), True, size["width"], size["latent"], size["batch"])
        method = methods.sgan(
            size["pairs"], size["turns"], optimizer=Adam(size["rate"], (0.5, 0.999)), messenger_steps=size["turns"]
        )
        last = size.get("last", LATE[-1])  # smoke runs reuse their last step for later ones
        evaluation_steps = sorted({min(step, last) for step in STEPS})
        run = Run(game, method, last, size["seeds"])
        by_step = train_and_evaluate_pairs(run, folder, evaluation_steps, {"likelihood": LogLikelihood()}, track)
        return {f"{step}": by_step[min(step, last)] for step in STEPS}

    def draw(self, findings: Findings, figure: Figure) -> None:
        """Draw the first seed step by step: local generators above, the global one below."""
        findings = {step: findings[step] for step in ("5", "10", "100", "300")}
        grid = figure.add_gridspec(2, len(findings))
        for column, (step, result) in enumerate(findings.items()):
            for row, pairs in enumerate((slice(1, None), slice(0, 1))):
                axes = figure.add_subplot(
                    grid[row, column], aspect="equal", xlim=(-AXIS_LIMIT, AXIS_LIMIT), ylim=(-AXIS_LIMIT, AXIS_LIMIT)
                )
                for index, levels in enumerate(result["levels"][0, pairs]):
                    axes.contour(
                        levels,
                        6,
                        extent=(-AXIS_LIMIT, AXIS_LIMIT, -AXIS_LIMIT, AXIS_LIMIT),
                        cmap="viridis_r",
                        linewidths=0.6,
                        alpha=0.3,
                    )
                    color = f"C{index}" if row == 0 else "C2"
                    axes.scatter(*result["samples"][0, pairs][index].T, s=2, color=color, zorder=3)
                axes.scatter(*result["real"].T, s=3, color="orange", zorder=2)
                name = ("local pairs", "global pair")[row]
                likelihood = float(np.mean(result["likelihood"][0, pairs]))
                if row == 1:  # the global generator may be far away
                    limit = max(AXIS_LIMIT, 1.1 * float(np.abs(result["samples"][0, 0]).max()))
                    axes.set(xlim=(-limit, limit), ylim=(-limit, limit))
                axes.set(xticks=[], yticks=[], ylabel=name if column == 0 else "", xlabel=f"{likelihood:.1f} nats")
                axes.set_title(f"step {step}" if row == 0 else "")
        figure.suptitle(
            "Real points orange; below each panel: (mean) log-likelihood; frames as wide as G₀ needs",
            fontsize=10,
        )


def _share_apart(samples: np.ndarray) -> float:
    """Return the share (%) of the first generator's samples that lie unusually far from all samples of the others."""
    others = samples[1:].reshape(-1, 2)
    nearest_other = KDTree(others)
    typical_distance = np.quantile(nearest_other.query(others, k=2)[0][:, 1], 0.95)  # nearest but itself
    return 100 * float((nearest_other.query(samples[0])[0] > typical_distance).mean())
