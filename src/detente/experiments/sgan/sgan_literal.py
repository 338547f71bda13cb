"""SGAN, figure 4, with the numbers that its paper prints: width 512 and rate 1e-5."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from detente import methods
from detente.experiments.base import Claim, Experiment, Findings, Track
from detente.experiments.support.interval_estimate import Estimate, above
from detente.experiments.support.sgan_toys import (
    DATA_DEVIATION,
    ring_of_gaussians,
    toy_game,
    train_and_evaluate_pairs,
)
from detente.metrics.likelihood import LogLikelihood
from detente.optimizers.adam import Adam
from detente.training.run import Run

if TYPE_CHECKING:
    from matplotlib.figure import Figure

CHECKED = ("half", "end")


def _global_above_mean(moment: str) -> Claim:
    words = {"half": "half-way", "end": "at the end"}[moment]
    return Claim(
        f"The global generator converges quicker: its log-likelihood {words} less the mean of the local ones",
        lambda findings: Estimate.difference(
            findings["global"][:, _index(findings, moment)], findings["local"][:, _index(findings, moment)]
        ),
        above(0),
        "quicker (picture)",
    )


class SganLiteral(Experiment):
    """With the paper's width and rate two thousand iterations are few."""

    title = "S-WGAN with the paper's width and rate"
    paper = "Chavdarova & Fleuret 2018, SGAN (arXiv:1712.02330)"
    figure = "figure 4"
    deviations = (
        DATA_DEVIATION,
        "The paper gives neither I_D, the batch nor the number of iterations: here 5, 64 and 2,000. Laptop: five pairs "
        "instead of ten.",
    )
    shared = ("steps",)
    sizes = {
        "smoke": {"steps": 4, "pairs": 2, "turns": 1, "width": 16, "latent": 4, "batch": 16, "rate": 1e-5, "seeds": 2},
        "laptop": {"steps": 2_000, "pairs": 5, "turns": 5, "width": 512, "latent": 100, "batch": 64, "rate": 1e-5}
        | {"seeds": 7},
        "paper": {"steps": 20_000, "pairs": 10, "turns": 5, "width": 512, "latent": 100, "batch": 256, "rate": 1e-5}
        | {"seeds": 7},
    }
    claims = (
        *map(_global_above_mean, CHECKED),
        Claim(
            "Local generators learn at all: their mean log-likelihood at the end less that at the first quarter",
            lambda findings: Estimate.difference(findings["local"][:, -1], findings["local"][:, 0]),
            above(0),
        ),
    )

    def conduct(self, folder: Path, track: Track, **size: Any) -> Findings:
        """Return log-likelihoods of the global pair and the mean over the local ones, (seeds, steps)."""
        game = toy_game(ring_of_gaussians(8), True, size["width"], size["latent"], size["batch"])
        method = methods.sgan(
            size["pairs"], size["turns"], optimizer=Adam(size["rate"], (0.5, 0.999)), messenger_steps=size["turns"]
        )
        steps = [size["steps"] * part // 4 for part in (1, 2, 3, 4)]
        run = Run(game, method, steps[-1], size["seeds"])
        by_step = train_and_evaluate_pairs(run, folder, steps, {"likelihood": LogLikelihood()}, track)
        likelihood = np.stack([by_step[step]["likelihood"] for step in steps], axis=1)
        return {"steps": np.array(steps), "global": likelihood[:, :, 0], "local": likelihood[:, :, 1:].mean(2)}

    def draw(self, findings: Findings, figure: Figure) -> None:
        """Plot log-likelihoods over training: a thin line per seed, and the median."""
        axes = figure.add_subplot(1, 1, 1, xlabel="step", ylabel="log-likelihood, nats", title=self.title)
        for color, name in (("C1", "global"), ("C0", "local")):
            axes.plot(findings["steps"], findings[name].T, color=color, lw=0.6, alpha=0.5)
            label = {"global": "global generator", "local": "local generators, mean"}[name]
            axes.plot(findings["steps"], np.median(findings[name], 0), "o-", color=color, label=label)
        axes.legend()


def _index(findings: Findings, moment: str) -> int:
    return len(findings["steps"]) // 2 - 1 if moment == "half" else -1
