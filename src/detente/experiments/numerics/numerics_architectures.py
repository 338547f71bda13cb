"""The Numerics of GANs, figures 4 and 6 to 8: which methods train which architectures."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from detente import methods
from detente.experiments.base import Claim, Experiment, Findings, Track
from detente.experiments.support.image_grids import show_grid
from detente.experiments.support.interval_estimate import Estimate, above, at_least, below
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
from detente.methods.method import Method

if TYPE_CHECKING:
    from matplotlib.figure import Figure

BATCH_NORM, PLAIN, CONSTANT = "BatchNorm", "no BatchNorm", "constant filters"
SATURATING, DEEPER = "constant filters, Jensen–Shannon", "constant filters, extra layer"
ARCHITECTURES: dict[str, dict[str, Any]] = {
    BATCH_NORM: {"batch_norm": True},
    PLAIN: {},
    CONSTANT: {"constant": True},
    SATURATING: {"constant": True, "objective": "minimax"},
    DEEPER: {"constant": True, "hidden": True},
}
WITHOUT_BATCH_NORM = (PLAIN, CONSTANT, SATURATING, DEEPER)
STRENGTH = 10.0


def _make_methods(rate: float) -> dict[str, Method]:
    return {
        "simultaneous": methods.simultaneous(learning_rate=rate),
        "alternating": methods.alternating("rmsprop_tensorflow", rate),
        "consensus": methods.consensus(STRENGTH, learning_rate=rate),
        "smoothing": methods.smoothing(STRENGTH, learning_rate=rate),
    }


def _score_difference(
    findings: Findings, first: str, second: str, architectures: tuple[str, ...] = WITHOUT_BATCH_NORM
) -> Estimate:
    """Return the first method's final score minus the second's, averaged over architectures for each seed."""
    return Estimate.median(
        np.mean(
            [
                final_scores(findings[architecture][first]) - final_scores(findings[architecture][second])
                for architecture in architectures
            ],
            axis=0,
        )
    )


class NumericsArchitectures(Experiment):
    """Consensus trains all architectures except the one with BatchNorm."""

    title = "Architectures of a DCGAN under four methods"
    paper = PAPER
    figure = "figures 4 and 6–8"
    deviations = (
        DATA_DEVIATION,
        describe_laptop_size({**LAPTOP, "steps": 1000}),
        "Of figure 8's architectures with an extra fully connected layer in the discriminator, the one with constant "
        "filters; laptop: of 64 units.",
        "Figure 4's and 6's samples of CelebA are not made; figure 4's of CIFAR-10 are those of consensus without "
        "BatchNorm.",
        "Smoothing as the paper words it (½‖v‖²); its code takes ½‖v_G‖².",
        "A training succeeds whose score is at least 2 and half-way from 1 to the best of any run here.",
    )
    tried = (
        "All twelve trainings of consensus without BatchNorm score 2.7 or more and go on rising; two of them, 2.73 and "
        "2.75, just miss half-way to the best of all runs (4.5, alternating with BatchNorm). Consensus is ahead of "
        "alternating gradient in every architecture without BatchNorm; one of alternating's three seeds learns with "
        "constant filters, which widens the interval. Smoothing with BatchNorm stays at 1.3 for 500 steps."
    )
    shared = ("steps", "images")
    sizes = {"smoke": SMOKE, "laptop": {**LAPTOP, "steps": 1000, "seeds": 7}, "paper": FULL}
    claims = (
        Claim(
            "Consensus trains all architectures without BatchNorm: share of its trainings there that succeed",
            lambda findings: Estimate.median([_consensus_success(findings)], "%"),
            at_least(90),
            "all",
        ),
        Claim(
            "Consensus struggles with BatchNorm: its score with it, less without",
            lambda findings: Estimate.difference(
                final_scores(findings[BATCH_NORM]["consensus"]), final_scores(findings[PLAIN]["consensus"])
            ),
            below(0),
            "struggles",
        ),
        Claim(
            "Without BatchNorm consensus scores higher than simultaneous gradient: difference, mean over four "
            "architectures",
            lambda findings: _score_difference(findings, "consensus", "simultaneous"),
            above(0),
            "higher (curves)",
        ),
        Claim(
            "Without BatchNorm consensus scores higher than alternating gradient: difference, mean over four "
            "architectures",
            lambda findings: _score_difference(findings, "consensus", "alternating"),
            above(0),
            "higher (curves)",
        ),
        Claim(
            "With BatchNorm smoothing succeeds where consensus fails: its score less that of consensus",
            lambda findings: _score_difference(findings, "smoothing", "consensus", (BATCH_NORM,)),
            above(0),
            "successfully",
        ),
        Claim(
            "Without BatchNorm smoothing does worse than consensus: difference, mean over four architectures",
            lambda findings: _score_difference(findings, "smoothing", "consensus"),
            below(0),
            "usually worse",
        ),
        Claim(
            "Smoothing fails with constant filters and an extra layer, where consensus succeeds: difference",
            lambda findings: _score_difference(findings, "smoothing", "consensus", (DEEPER,)),
            below(0),
            "fails",
        ),
    )

    def conduct(self, folder: Path, track: Track, **size: Any) -> Findings:
        """Return scores, losses and samples by architecture and method."""
        findings: Findings = {}
        for index, (name, options) in enumerate(ARCHITECTURES.items()):
            options_with_hidden = {**options, "hidden": size["hidden"]} if "hidden" in options else options
            game = numerics_dcgan(size, **options_with_hidden)
            findings[name] = {
                method_name: train_and_score(game, method, size, folder / f"{index}-{method_name}", track)
                for method_name, method in _make_methods(size["rate"]).items()
            }
        return findings

    def draw(self, findings: Findings, figure: Figure) -> None:
        """Draw the first seed's final samples, and scores during training; one row per architecture."""
        grid = figure.add_gridspec(len(findings), 5, width_ratios=[1, 1, 1, 1, 1.8])
        for row, (name, by_method) in enumerate(findings.items()):
            curves = figure.add_subplot(grid[row, 4])
            for column, (method, result) in enumerate(by_method.items()):
                axes = figure.add_subplot(grid[row, column])
                show_grid(axes, torch.from_numpy(result["images"][:8]), 2, 4)
                axes.set_title(method if row == 0 else "", fontsize="small")
                axes.set_ylabel(name.replace(", ", ",\n") if column == 0 else "", fontsize="x-small")
                curves.plot(result["steps"], result["scores"].mean(0), color=f"C{column}", label=method)
                curves.plot(result["steps"], result["scores"].T, ".", ms=3, color=f"C{column}", alpha=0.5)
            curves.set_ylim(bottom=0.9)
            curves.tick_params(labelsize="x-small")
            if row == 0:
                curves.set_title("score over steps", fontsize="small")
                curves.legend(fontsize="xx-small")


def _consensus_success(findings: Findings) -> float:
    """Return the share of a seed's trainings with consensus that succeed, in per cent."""
    all_runs = [result for by_method in findings.values() for result in by_method.values()]
    return 100 * share_of_successes([findings[name]["consensus"] for name in WITHOUT_BATCH_NORM], all_runs)
