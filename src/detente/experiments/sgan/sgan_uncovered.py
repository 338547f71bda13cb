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
from detente.experiments.support.sgan_toys import DATA_DEVIATION, RATE_DEVIATION, SIGMA, ring_of_gaussians, toy_game
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
        "Local pairs never hear of the global one, so they are trained without it, a seed each.",
        "Laptop: hidden layers of 64, latents of 16, batches of 64, learning rate 3e-3.",
        RATE_DEVIATION,
    )
    tried = (
        "Five ensembles, each in one order, are too few: single generators miss between 0.6 % and 83 %, three of five "
        "ensembles miss nothing from two generators on, so that their slopes are not defined. Looked at only after the "
        "run, and no claim: over all choices of n among the same 50 generators the share is 16.1, 3.75, 1.12, 0.38, "
        "0.13 % …, and a line through its logarithm has R² = 0.997 for n = 1 to 10 (0.995 for 1 to 5)."
    )
    sizes = {
        "smoke": {"steps": 40, "ensembles": 2, "pairs": 3, "width": 16, "latent": 4, "batch": 16, "rate": 3e-3},
        "laptop": {"steps": 600, "ensembles": 5, "pairs": 10, "width": 64, "latent": 16, "batch": 64, "rate": 3e-3},
        "paper": {
            "steps": 100_000,
            "ensembles": 10,
            "pairs": 10,
            "width": 512,
            "latent": 100,
            "batch": 256,
            "rate": 1e-5,
        },
    }
    claims = (
        Claim(
            "The share of modes missed falls: that of one generator less that of the whole ensemble",
            lambda findings: Estimate.median(findings["missed"][:, 0] - findings["missed"][:, -1], "% of modes"),
            above(0),
            "falls (picture)",
        ),
        Claim(
            "It falls exponentially: R² of the straight line through its logarithm",
            lambda findings: Estimate.exact(_fit_exponential(findings["missed"].mean(0))[2]),
            at_least(0.95),
            "exponential (picture)",
        ),
        Claim(
            "Each generator more makes the share smaller by a factor (slope of the logarithm, by ensemble)",
            lambda findings: Estimate.median([_fit_exponential(row)[0] for row in findings["missed"]], "a generator"),
            below(0),
            "falls (picture)",
        ),
    )

    def conduct(self, folder: Path, track: Track, **size: Any) -> Findings:
        """Return the share of modes that the first n generators of each ensemble miss, (ensembles, n), in per cent."""
        game = toy_game(ring_of_gaussians(8), False, size["width"], size["latent"], size["batch"])
        count = size["ensembles"] * size["pairs"]
        method = methods.alternating(Adam(size["rate"], (0.5, 0.999)))
        run = Run(game, method, size["steps"], tuple(range(count)), measure_every=max(1, size["steps"] // EVALUATIONS))
        training = train_or_resume(run, folder / "pairs", track)
        evaluation_steps = [int(step) for step in training.curve("modes_covered")[0] if 2 * step > size["steps"]]
        centres = ring_of_gaussians(8).centres.numpy()
        covered = np.array(
            [
                [
                    (cdist(centres, training.samples(seed, step)["fake"]).min(1) <= 3 * SIGMA).reshape(-1)
                    for step in evaluation_steps
                ]
                for seed in run.seeds
            ]
        ).reshape(size["ensembles"], size["pairs"], len(evaluation_steps), len(centres))
        covered_by_any = np.logical_or.accumulate(covered, axis=1)
        return {"missed": 100 * (1 - covered_by_any.mean((2, 3))), "chosen": _missed_by_any_choice(covered)}

    def draw(self, findings: Findings, figure: Figure) -> None:
        """Plot the share missed against the number of generators, on a linear and a logarithmic scale."""
        missed = findings["missed"]
        counts, mean = np.arange(1, missed.shape[1] + 1), missed.mean(0)
        slope, intercept, r_squared = _fit_exponential(mean)
        for column, scale in enumerate(("linear", "log")):
            axes = figure.add_subplot(1, 2, column + 1, xlabel="generators", xticks=counts, yscale=scale)
            axes.plot(counts, missed.T, color="C0", lw=0.7, alpha=0.5)
            axes.plot(counts, mean, "o-", color="C0", label="mean over ensembles and moments")
            axes.plot(counts, findings["chosen"], "x-", color="C2", label="any n of all generators together")
            axes.plot(
                counts, np.exp(intercept + slope * counts), "--", color="C1", label=f"exponential, R² = {r_squared:.3f}"
            )
            axes.set(ylabel="modes missed, %", **({"ylim": (0.01, 120)} if scale == "log" else {}))
        axes.legend()


def _missed_by_any_choice(covered: np.ndarray) -> np.ndarray:
    """Return the share of modes (%) that n generators miss, (n,), averaged over all choices of n generators."""
    missing_count = (~covered.reshape(-1, *covered.shape[2:])).sum(0)
    count = covered.shape[0] * covered.shape[1]
    counts = range(1, covered.shape[1] + 1)
    return np.array([100 * float(np.mean(np.asarray(comb(missing_count, n)) / comb(count, n))) for n in counts])


def _fit_exponential(missed: np.ndarray) -> tuple[float, float, float]:
    """Return slope, intercept and R² of a line through the logarithms; NaN for fewer than three positive values."""
    counts = np.flatnonzero(missed > 0) + 1
    if len(counts) < 3:
        return math.nan, math.nan, math.nan
    logarithms = np.log(missed[counts - 1])
    slope, intercept = np.polyfit(counts, logarithms, 1)
    residuals = logarithms - intercept - slope * counts
    return float(slope), float(intercept), float(1 - residuals.var() / logarithms.var())
