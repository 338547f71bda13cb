"""SGAN, figure 2d: modes that an ensemble of generators misses, by the number of generators."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.spatial.distance import cdist
from scipy.special import comb

from detente import methods
from detente.experiments.base import Claim, Experiment, Findings, Track
from detente.experiments.support.interval_estimate import Estimate, above, at_least, below
from detente.experiments.support.resumable_training import train_or_resume
from detente.experiments.support.sgan_toys import DATA_DEVIATION, SIGMA, ring_of_gaussians, toy_game
from detente.optimizers.adam import Adam
from detente.training.run import Run

if TYPE_CHECKING:
    from matplotlib.figure import Figure

EVALUATIONS = 40  # during training; those in the second half count


class SganUncovered(Experiment):
    """Independent generators miss different modes: the share that all miss falls exponentially with their number."""

    title = "Share of 8 modes that an ensemble of vanilla GANs misses"
    paper = "Chavdarova & Fleuret 2018, SGAN (arXiv:1712.02330)"
    figure = "figure 2d"
    deviations = (
        DATA_DEVIATION,
        "A mode is covered where one of 512 samples lies within 3σ of it; the paper does not say.",
        "A random iteration is one of 20 looks at the second half of training, all of which count.",
        "Local pairs never hear of the global one, so they are trained without it, a seed each. The share that n "
        "generators miss is averaged over all choices of n of the 50 generators.",
        "Laptop: hidden layers of 64, latents of 16, batches of 64, rate 3e-3: the smaller of 1e-3 and 3e-3 at which "
        "single pairs reach the data in 400 steps, on seeds 900 to 904.",
    )
    tried = (
        "Before, five ensembles of ten generators, each in one order, were too few: single generators miss between 0.6 "
        "and 83 % of the modes. Hence all choices of n of 50 generators, on other seeds."
    )
    shared = ("counts",)
    sizes = {
        "smoke": {"steps": 40, "generators": 5, "most": 3, "width": 16, "latent": 4, "batch": 16, "rate": 3e-3}
        | {"seeds": 2},
        "laptop": {"steps": 600, "generators": 50, "most": 10, "width": 64, "latent": 16, "batch": 64, "rate": 3e-3}
        | {"seeds": 8},
        "paper": {"steps": 100_000, "generators": 50, "most": 10, "width": 512, "latent": 100, "batch": 256}
        | {"rate": 1e-5, "seeds": 8},
    }
    claims = (
        Claim(
            "The share of modes missed falls: that of one generator less that of ten together",
            lambda findings: Estimate.median(findings["missed"][:, 0] - findings["missed"][:, -1], "% of modes"),
            above(0),
            "falls (picture)",
        ),
        Claim(
            "It falls exponentially: R² of the straight line through its logarithm",
            lambda findings: Estimate.median([_fit_exponential(row)[2] for row in findings["missed"]]),
            at_least(0.95),
            "exponential (picture)",
        ),
        Claim(
            "Each generator more halves the share at least: slope of its logarithm",
            lambda findings: Estimate.median([_fit_exponential(row)[0] for row in findings["missed"]], "a generator"),
            below(-math.log(2)),
            "falls (picture)",
        ),
    )

    def conduct(self, folder: Path, track: Track, **size: Any) -> Findings:
        """Return the share of modes that n generators miss, (seeds, n), in per cent."""
        game = toy_game(ring_of_gaussians(8), False, size["width"], size["latent"], size["batch"])
        method = methods.alternating(Adam(size["rate"], (0.5, 0.999)))
        centres = ring_of_gaussians(8).centres.numpy()
        missed = []
        for seed in size["seeds"]:
            seeds = tuple(1000 * seed + index for index in range(size["generators"]))
            run = Run(game, method, size["steps"], seeds, measure_every=max(1, size["steps"] // EVALUATIONS))
            training = train_or_resume(run, folder / f"generators-{seed}", track)
            steps = [int(step) for step in training.curve("modes_covered")[0] if 2 * step > size["steps"]]
            covered = [
                [cdist(centres, training.samples(one, step)["fake"]).min(1) <= 3 * SIGMA for step in steps]
                for one in seeds
            ]
            missed.append(_missed_by_any_choice(np.array(covered), size["most"]))
        return {"missed": np.array(missed), "counts": np.arange(1, size["most"] + 1)}

    def draw(self, findings: Findings, figure: Figure) -> None:
        """Plot the share missed against the number of generators, on a linear and a logarithmic scale."""
        missed, counts = findings["missed"], findings["counts"]
        median = np.median(missed, 0)
        slope, intercept, r_squared = _fit_exponential(median)
        for column, scale in enumerate(("linear", "log")):
            axes = figure.add_subplot(1, 2, column + 1, xlabel="generators", xticks=counts, yscale=scale)
            axes.plot(counts, missed.T, color="C0", lw=0.7, alpha=0.5)
            axes.plot(counts, median, "o-", color="C0", label="any n of 50 generators, median over seeds")
            axes.plot(
                counts, np.exp(intercept + slope * counts), "--", color="C1", label=f"exponential, R² = {r_squared:.3f}"
            )
            axes.set(ylabel="modes missed, %", **({"ylim": (0.01, 120)} if scale == "log" else {}))
        axes.legend()  # pyright: ignore[reportPossiblyUnboundVariable]


def _missed_by_any_choice(covered: np.ndarray, most: int) -> np.ndarray:
    """Return the share of modes (%) that n of the generators miss, for n = 1 … most, averaged over all choices of n.

    Args:
        covered: (generators, evaluations, modes), whether a generator covers a mode.
        most: largest n.
    """
    missing_count, count = (~covered).sum(0), len(covered)
    return np.array([100 * float(np.mean(comb(missing_count, n) / comb(count, n))) for n in range(1, most + 1)])


def _fit_exponential(missed: np.ndarray) -> tuple[float, float, float]:
    """Return slope, intercept and R² of a line through the logarithms; NaN for fewer than three positive values."""
    counts = np.flatnonzero(missed > 0) + 1
    if len(counts) < 3:
        return math.nan, math.nan, math.nan
    logarithms = np.log(missed[counts - 1])
    slope, intercept = np.polyfit(counts, logarithms, 1)
    residuals = logarithms - intercept - slope * counts
    return float(slope), float(intercept), float(1 - residuals.var() / logarithms.var())
