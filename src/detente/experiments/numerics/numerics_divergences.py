"""The Numerics of GANs, figure 9: generators that minimise different divergences, with and without consensus."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from detente import methods
from detente.experiments.base import Claim, Experiment, Findings, Track
from detente.experiments.support.image_grids import show_grid
from detente.experiments.support.interval_estimate import Estimate, above, at_least
from detente.experiments.support.numerics_images import (
    DATA_DEVIATION,
    FULL,
    LAPTOP,
    PAPER,
    SMOKE,
    describe_laptop_size,
    final_scores,
    numerics_dcgan,
    share_of_successes,
    train_and_score,
)

if TYPE_CHECKING:
    from matplotlib.figure import Figure

DIVERGENCES = {
    "standard": "non_saturating",
    "Jensen–Shannon": "minimax",
    "Kullback–Leibler": "reverse_kullback_leibler",
    "total variation": "total_variation",
    "indicator": "indicator",
}
CONSENSUS, SIMULTANEOUS = "consensus", "simultaneous"
STRENGTH = 10.0


class NumericsDivergences(Experiment):
    """Consensus trains a GAN with every divergence."""

    title = "A DCGAN with constant filters under five divergences"
    paper = PAPER
    figure = "figure 9"
    deviations = (
        DATA_DEVIATION,
        describe_laptop_size(LAPTOP),
        "The divergences are those of the authors' code. Its Kullback–Leibler keeps the standard discriminator for the "
        "generator's loss −E[s]; here it is f-GAN's bound of KL(fake ‖ real), whose generator has that loss too.",
        "The paper shows consensus alone; simultaneous gradient stands beside it here.",
        "A training succeeds whose score is at least 2 and half-way from 1 to the best of any run here.",
    )
    shared = ("steps", "images")
    sizes = {"smoke": SMOKE, "laptop": LAPTOP, "paper": FULL}
    claims = (
        Claim(
            "Consensus trains GANs with a large variety of divergences: share of its trainings that succeed",
            lambda findings: Estimate.median([_consensus_success(findings)], "%"),
            at_least(90),
            "all five (pictures)",
        ),
        Claim(
            "Consensus scores higher than simultaneous gradient: difference, mean over the divergences",
            lambda findings: Estimate.median(
                np.mean(
                    [
                        final_scores(estimate[CONSENSUS]) - final_scores(estimate[SIMULTANEOUS])
                        for estimate in findings.values()
                    ],
                    axis=0,
                )
            ),
            above(0),
        ),
    )

    def conduct(self, folder: Path, track: Track, **size: Any) -> Findings:
        """Return scores and samples by divergence and method."""
        rate = size["rate"]
        method_by_name = {
            CONSENSUS: methods.consensus(STRENGTH, learning_rate=rate),
            SIMULTANEOUS: methods.simultaneous(learning_rate=rate),
        }
        return {
            name: {
                method_name: train_and_score(
                    numerics_dcgan(size, objective, constant=True),
                    method,
                    size,
                    folder / f"{objective}-{method_name}",
                    track,
                )
                for method_name, method in method_by_name.items()
            }
            for name, objective in DIVERGENCES.items()
        }

    def draw(self, findings: Findings, figure: Figure) -> None:
        """Draw the first seed's final samples with both methods, and the scores; one column per divergence."""
        grid = figure.add_gridspec(3, len(findings))
        top = 1.05 * max(
            float(result["scores"].max()) for by_method in findings.values() for result in by_method.values()
        )
        for column, (name, by_method) in enumerate(findings.items()):
            for row, (method_name, result) in enumerate(by_method.items()):
                axes = figure.add_subplot(grid[row, column])
                show_grid(axes, torch.from_numpy(result["images"]), 4, 4)
                axes.set_title(name if row == 0 else "", fontsize="small")
                axes.set_ylabel(method_name if column == 0 else "")
            axes = figure.add_subplot(grid[2, column], ylim=(1, top), xlabel="step")
            axes.set_ylabel("score" if column == 0 else "")
            for color, (method_name, result) in enumerate(by_method.items()):
                axes.plot(result["steps"], result["scores"].mean(0), color=f"C{color}", label=method_name)
                axes.plot(result["steps"], result["scores"].T, ".", ms=3, color=f"C{color}", alpha=0.5)
            if column == 0:
                axes.legend(fontsize="x-small")


def _consensus_success(findings: Findings) -> float:
    """Return the share of a seed's trainings with consensus that succeed, in per cent."""
    all_runs = [result for by_method in findings.values() for result in by_method.values()]
    return 100 * share_of_successes([by_method[CONSENSUS] for by_method in findings.values()], all_runs)
