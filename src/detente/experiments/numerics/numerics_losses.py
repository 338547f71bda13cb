"""The Numerics of GANs, figures 5 and 11: losses and scores of consensus and of alternating gradient."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from detente import methods
from detente.experiments.base import Claim, Experiment, Findings, Track
from detente.experiments.support.interval_estimate import Estimate, above, below
from detente.experiments.support.numerics_images import (
    DATA_DEVIATION,
    FULL,
    LAPTOP,
    PAPER,
    SMOKE,
    describe_laptop_size,
    final_scores,
    numerics_dcgan,
    train_and_score,
)

if TYPE_CHECKING:
    from matplotlib.figure import Figure

STRENGTHS = {3: 0.1, 4: 10.0}  # γ of consensus by the number of convolutions
ALTERNATING, CONSENSUS = "alternating with BatchNorm", "consensus without"


def _loss_deviation(result: Findings) -> np.ndarray:
    """Return the standard deviation of the losses in the second half of training, averaged over players, (seeds,)."""
    halves = [losses[:, losses.shape[1] // 2 :] for _, losses in result["losses"].values()]
    return np.mean([half.std(axis=1) for half in halves], axis=0)


def _score_gain(findings: Findings, layers: int) -> np.ndarray:
    return final_scores(findings[f"{layers}"][CONSENSUS]) - final_scores(findings[f"{layers}"][ALTERNATING])


def _claims(layers: int, better: str) -> tuple[Claim, ...]:
    return (
        Claim(
            f"{layers} convolutions: losses are steadier under consensus: their standard deviation in the second half, "
            "less that of alternating gradient",
            lambda findings: Estimate.difference(
                _loss_deviation(findings[f"{layers}"][CONSENSUS]), _loss_deviation(findings[f"{layers}"][ALTERNATING])
            ),
            below(0),
            "almost constant; highly fluctuating",
        ),
        Claim(
            f"{layers} convolutions: consensus ends with a higher score than alternating gradient: difference",
            lambda findings: Estimate.median(_score_gain(findings, layers)),
            above(0),
            better,
        ),
    )


class NumericsLosses(Experiment):
    """Consensus makes losses almost constant and scores higher at the end, especially with more convolutions."""

    title = "Losses and scores with three and four convolutions"
    paper = PAPER
    figure = "figures 5 and 11"
    deviations = (
        DATA_DEVIATION,
        describe_laptop_size({**LAPTOP, "steps": 2000}),
        f"Losses are means over a sixtieth of the training; consensus has γ = {STRENGTHS[3]} with 3 convolutions and "
        f"γ = {STRENGTHS[4]:g} with 4, as for figure 13.",
    )
    tried = (
        "At 500 and at 2,000 steps, the longest that were tried, alternating gradient with BatchNorm is ahead; its "
        "score rises faster at first and still rises at the end. With four convolutions consensus scores 4 from step "
        "800 on; its losses are almost constant there, as the paper says."
    )
    shared = ("steps", "images")
    sizes = {"smoke": SMOKE, "laptop": {**LAPTOP, "steps": 2000, "seeds": 8}, "paper": FULL}
    claims = (
        *_claims(3, "slightly better"),
        *_claims(4, "much better"),
        Claim(
            "The gain in score is larger with four convolutions than with three: difference of the gains",
            lambda findings: Estimate.difference(_score_gain(findings, 4), _score_gain(findings, 3)),
            above(0),
            "even more significant",
        ),
    )

    def conduct(self, folder: Path, track: Track, **size: Any) -> Findings:
        """Return scores and losses of both methods by number of convolutions."""
        rate, findings = size["rate"], {}
        for layers, strength in STRENGTHS.items():
            alternating = methods.alternating("rmsprop_tensorflow", rate)
            consensus = methods.consensus(strength, learning_rate=rate)
            with_batch_norm, without_batch_norm = (
                numerics_dcgan(size, layers=layers, batch_norm=True),
                numerics_dcgan(size, layers=layers),
            )
            findings[f"{layers}"] = {
                ALTERNATING: train_and_score(
                    with_batch_norm, alternating, size, folder / f"alternating-{layers}", track
                ),
                CONSENSUS: train_and_score(without_batch_norm, consensus, size, folder / f"consensus-{layers}", track),
            }
        return findings

    def draw(self, findings: Findings, figure: Figure) -> None:
        """Plot the losses of the first seed, and the scores; one row per number of convolutions."""
        grid = figure.add_gridspec(len(findings), 3)
        for row, (layers, by_method) in enumerate(findings.items()):
            scores = figure.add_subplot(grid[row, 2], title="score" if row == 0 else "")
            for player, title in enumerate(("generator", "discriminator")):
                axes = figure.add_subplot(grid[row, player], title=f"loss of the {title}" if row == 0 else "")
                axes.set_ylabel(f"{layers} convolutions" if player == 0 else "")
                for color, (name, result) in enumerate(by_method.items()):
                    steps, losses = result["losses"][title]
                    axes.plot(steps, losses[0], color=f"C{color}", lw=1, label=name)
            for color, (name, result) in enumerate(by_method.items()):
                scores.plot(result["steps"], result["scores"].mean(0), "o-", ms=3, color=f"C{color}", label=name)
                scores.plot(result["steps"], result["scores"].T, ".", ms=3, color=f"C{color}", alpha=0.5)
            scores.set_ylim(bottom=0.9)
            if row == 0:
                scores.legend(fontsize="x-small")
            scores.set_xlabel("step" if row == len(findings) - 1 else "")
