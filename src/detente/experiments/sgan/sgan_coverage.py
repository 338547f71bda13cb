"""SGAN, supplementary figures 1 and 4: Coverage of five local WGANs and of the global one."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.spatial.distance import pdist

from detente import methods
from detente.errors import InvalidValue
from detente.experiments.base import Claim, Experiment, Findings, Track
from detente.experiments.support.interval_estimate import Estimate, above
from detente.experiments.support.sgan_toys import (
    AXIS_LIMIT,
    DATA_DEVIATION,
    REGIME_DEVIATION,
    ring_of_gaussians,
    score_grid,
    toy_game,
    train_and_evaluate_pairs,
)
from detente.metrics.likelihood import FACTORS, FOLDS, Coverage
from detente.optimizers.adam import Adam
from detente.training.run import Run

if TYPE_CHECKING:
    from matplotlib.figure import Figure

MODES = (10, 8)  # in supplementary figures 1 and 4


def _global_above_mean(modes: int) -> Claim:
    return Claim(
        f"{modes} Gaussians: the global generator's Coverage less the mean of the local ones'",
        lambda findings: Estimate.difference(
            findings[f"{modes}"]["coverage"][:, 0], findings[f"{modes}"]["coverage"][:, 1:].mean(1)
        ),
        above(0),
        "higher (picture)",
    )


def _share_surpassed(modes: int) -> Claim:
    return Claim(
        f"{modes} Gaussians: share of local generators whose Coverage the global one surpasses",
        lambda findings: Estimate.median(
            100 * (findings[f"{modes}"]["coverage"][:, :1] > findings[f"{modes}"]["coverage"][:, 1:]).mean(1),
            "% of generators",
        ),
        above(50),
        "higher (picture)",
    )


class SganCoverage(Experiment):
    """The global generator covers more of the data than the local ones."""

    title = "5-S-WGAN: Coverage of local generators and of the global one"
    paper = "Chavdarova & Fleuret 2018, SGAN (arXiv:1712.02330)"
    figure = "supplementary figures 1 and 4"
    deviations = (
        DATA_DEVIATION,
        "Level sets on the right are those of D₀, not of the messengers, which are not kept; kernel densities are "
        "drawn for both mixtures from 256 samples of each generator, and Coverage is measured from 500.",
        "Figure 4's global pair moves after each update of a local pair; here once after all, as in Algorithm 1.",
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
            "pairs": 5,
            "seeds": 8,
            "turns": 5,
            "width": 64,
            "latent": 16,
            "batch": 64,
            "rate": 1e-3,
        },
        "paper": {
            "steps": 5_000,
            "pairs": 5,
            "seeds": 8,
            "turns": 5,
            "width": 512,
            "latent": 100,
            "batch": 256,
            "rate": 1e-5,
        },
    }
    claims = (*map(_global_above_mean, MODES), *map(_share_surpassed, MODES))

    def conduct(self, folder: Path, track: Track, **size: Any) -> Findings:
        """Return measurements at the end of training, by number of modes."""
        findings: Findings = {}
        method = methods.sgan(
            size["pairs"], size["turns"], optimizer=Adam(size["rate"], (0.5, 0.999)), messenger_steps=size["turns"]
        )
        for modes in MODES:
            game = toy_game(ring_of_gaussians(modes), True, size["width"], size["latent"], size["batch"])
            run = Run(game, method, size["steps"], size["seeds"])
            metrics = {"coverage": Coverage()}
            findings[f"{modes}"] = train_and_evaluate_pairs(
                run, folder / f"modes-{modes}", [run.steps], metrics, track
            )[run.steps]
        return findings

    def draw(self, findings: Findings, figure: Figure) -> None:
        """Draw the first seed's local and global densities, and local and global level sets."""
        panels = figure.add_gridspec(len(findings), 4)
        extent = (-AXIS_LIMIT, AXIS_LIMIT, -AXIS_LIMIT, AXIS_LIMIT)
        for row, (modes, result) in enumerate(findings.items()):
            for column, (panel, pairs) in enumerate(
                (panel, pairs) for panel in ("density", "levels") for pairs in (slice(1, None), slice(0, 1))
            ):
                axes = figure.add_subplot(
                    panels[row, column], aspect="equal", xlim=(-AXIS_LIMIT, AXIS_LIMIT), ylim=(-AXIS_LIMIT, AXIS_LIMIT)
                )
                axes.scatter(*result["real"].T, s=3, color="orange")
                for index, samples in enumerate(result["samples"][0, pairs]):
                    color = f"C{index}" if column % 2 == 0 else ("red", "green")[column // 2]
                    axes.scatter(*samples.T, s=2, color=color, zorder=3)
                    if panel == "levels":
                        levels = result["levels"][0, pairs][index]
                        axes.contour(levels, 6, extent=extent, cmap="viridis_r", linewidths=0.7, alpha=0.5)
                    elif column % 2 == 1:
                        axes.contour(_density(samples), 8, extent=extent, cmap="Reds", linewidths=0.7)
                    else:
                        axes.contour(_density(samples), 4, extent=extent, colors=color, linewidths=0.5)
                coverage = float(result["coverage"][0, pairs].mean())
                axes.set(xticks=[], yticks=[], ylabel=f"{modes} Gaussians" if column == 0 else "")
                axes.set_xlabel(f"{'mean ' * (column % 2 == 0)}C = {coverage:.0f} %")
                if row == 0:
                    axes.set_title(f"{('local', 'global')[column % 2]}, {('density', 'level sets')[column // 2]}")


def _density(samples: np.ndarray) -> np.ndarray:
    """Return a kernel density on the grid, with a cross-validated bandwidth as in `Coverage`."""
    if not np.isfinite(samples).all():
        return np.zeros((round(len(score_grid()) ** 0.5),) * 2)
    try:  # imported here because only this figure needs it
        from sklearn.model_selection import GridSearchCV
        from sklearn.neighbors import KernelDensity
    except ModuleNotFoundError as error:
        allowed, hint = "an experiment whose package is installed; scikit-learn is not", "detente[reproduce]"
        raise InvalidValue("experiment", "sgan_coverage", allowed, f'pip install "{hint}"') from error
    bandwidths = {"bandwidth": list(max(float(np.median(pdist(samples))), 1e-6) * FACTORS)}
    search = GridSearchCV(KernelDensity(), bandwidths, cv=FOLDS).fit(samples)
    density = np.exp(search.score_samples(score_grid().numpy()))
    return density.reshape(round(len(density) ** 0.5), -1)
