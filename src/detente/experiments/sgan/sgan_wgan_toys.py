"""SGAN, figure 3: local WGANs, the global one, and one that gets as many updates as all of them together."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from detente import methods
from detente.data.base import Data
from detente.data.gaussian_mixture import Grid
from detente.data.swiss_roll import SwissRoll
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
from detente.metrics.likelihood import Coverage, LogLikelihood
from detente.optimizers.adam import Adam
from detente.training.run import Run

if TYPE_CHECKING:
    from matplotlib.figure import Figure

SETS: dict[str, Data] = {
    "8 Gaussians": ring_of_gaussians(8),
    "25 Gaussians": Grid(scale=1 / 2.828),
    "Swiss roll": SwissRoll(),
}


def _claims(name: str) -> tuple[Claim, ...]:
    return (
        Claim(
            f"{name}: the global generator's log-likelihood less the mean of the local ones'",
            lambda findings: Estimate.difference(
                findings[name]["likelihood"][:, 0], findings[name]["likelihood"][:, 1:].mean(1)
            ),
            above(0),
            "faster (picture)",
        ),
        Claim(
            f"{name}: the global generator is comparable with one of N-fold updates: its gain over the mean of the "
            "local ones, less half of that one's",
            lambda findings: Estimate.difference(
                findings[name]["likelihood"][:, 0],
                (findings[name]["likelihood"][:, 1:].mean(1) + findings[name]["folded"][:, 0]) / 2,
            ),
            above(0),
            "comparable",
        ),
        Claim(
            f"{name}: the global generator's Coverage less the mean of the local ones'",
            lambda findings: Estimate.difference(
                findings[name]["coverage"][:, 0], findings[name]["coverage"][:, 1:].mean(1)
            ),
            above(0),
            "faster (picture)",
        ),
    )


class SganWganToys(Experiment):
    """The global generator does as well as one with N times as many updates."""

    title = "S-WGAN on a ring, a grid and the Swiss roll"
    paper = "Chavdarova & Fleuret 2018, SGAN (arXiv:1712.02330)"
    figure = "figure 3"
    deviations = (
        DATA_DEVIATION,
        "The grid and the Swiss roll are those of the WGAN-GP toys.",
        "The generator updated N-fold belongs to a WGAN of its own, trained N times as many steps.",
        REGIME_DEVIATION,
    )
    tried = (
        "An earlier regime, one turn of each discriminator and messenger at rate 3e-3 for at most 200 steps, left the "
        "global generator at one point, because a messenger that is cloned anew for a single turn adapts too little "
        "to it."
    )
    sizes = {
        "smoke": {"steps": 4, "pairs": 2, "seeds": 2, "turns": 1, "width": 16, "latent": 4, "batch": 16, "rate": 3e-3},
        "laptop": {
            "steps": 300,
            "pairs": 10,
            "seeds": 8,
            "turns": 5,
            "width": 64,
            "latent": 16,
            "batch": 64,
            "rate": 1e-3,
        },
        "paper": {
            "steps": 5_000,
            "pairs": 10,
            "seeds": 8,
            "turns": 5,
            "width": 512,
            "latent": 100,
            "batch": 256,
            "rate": 1e-5,
        },
    }
    claims = tuple(claim for name in SETS for claim in _claims(name))

    def conduct(self, folder: Path, track: Track, **size: Any) -> Findings:
        """Return measurements at the end of training by data set, including the WGAN with N times as many updates."""
        findings: Findings = {}
        adam, pairs, turns = Adam(size["rate"], (0.5, 0.999)), size["pairs"], size["turns"]
        metrics = {"likelihood": LogLikelihood(), "coverage": Coverage()}
        for name, data in SETS.items():
            game = toy_game(data, True, size["width"], size["latent"], size["batch"])
            run_folder, seeds = folder / name.lower().replace(" ", "-"), size["seeds"]
            run = Run(game, methods.sgan(pairs, turns, optimizer=adam, messenger_steps=turns), size["steps"], seeds)
            result = train_and_evaluate_pairs(run, run_folder / "sgan", [run.steps], metrics, track)[run.steps]
            regular = methods.alternating(adam, discriminator_turns=turns)
            run = Run(game, regular, size["steps"] * pairs, seeds)
            n_fold = train_and_evaluate_pairs(run, run_folder / "folded", [run.steps], metrics, track)[run.steps]
            findings[name] = {
                **result,
                "folded": n_fold["likelihood"],
                "folded_samples": n_fold["samples"],
                "folded_levels": n_fold["levels"],
            }
        return findings

    def draw(self, findings: Findings, figure: Figure) -> None:
        """Draw the first seed's local pairs, the one with N-fold updates and the global one; one row per data set."""
        grid = figure.add_gridspec(len(findings), 3)
        extent = (-AXIS_LIMIT, AXIS_LIMIT, -AXIS_LIMIT, AXIS_LIMIT)
        for row, (name, result) in enumerate(findings.items()):
            panels = {
                "local pairs": (result["samples"][0, 1:], result["levels"][0, 1:], result["likelihood"][0, 1:].mean()),
                "N-fold updates": (result["folded_samples"][0], result["folded_levels"][0], result["folded"][0, 0]),
                "global pair": (result["samples"][0, :1], result["levels"][0, :1], result["likelihood"][0, 0]),
            }
            for column, (title, (samples, levels, likelihood)) in enumerate(panels.items()):
                axes = figure.add_subplot(grid[row, column], aspect="equal", xlim=extent[:2], ylim=extent[2:])
                axes.scatter(*result["real"].T, s=3, color="orange")
                for index, points in enumerate(samples):
                    axes.contour(levels[index], 6, extent=extent, cmap="viridis_r", linewidths=0.6, alpha=0.4)
                    axes.scatter(*points.T, s=2, color=(f"C{index}", "C3", "C2")[column], zorder=3)
                axes.set(xticks=[], yticks=[], ylabel=name if column == 0 else "")
                axes.set_xlabel(f"{'mean ' * (column == 0)}log-likelihood {np.round(likelihood, 1)}")
                axes.set_title(title if row == 0 else "")
