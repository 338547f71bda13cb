"""SGAN, figure 2a–c: a discriminator trained against one generator, and one trained against an ensemble."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.interpolate import RegularGridInterpolator
from scipy.spatial.distance import cdist

from detente import methods
from detente.experiments.base import Claim, Experiment, Findings, Track
from detente.experiments.support.interval_estimate import Estimate, above, at_least
from detente.experiments.support.sgan_toys import (
    AXIS_LIMIT,
    DATA_DEVIATION,
    RADIUS,
    SIGMA,
    VANILLA_DEVIATION,
    ring_of_gaussians,
    toy_game,
    train_and_evaluate_pairs,
)
from detente.optimizers.adam import Adam
from detente.training.run import Run

if TYPE_CHECKING:
    from matplotlib.figure import Figure

MODES, EVALUATIONS = 10, 6  # evaluations during training; those in the second half count
PEAK_WIDTH = 4 * SIGMA


class SganTwoDiscriminators(Experiment):
    """A discriminator trained against an ensemble separates all modes from the space between them."""

    title = "10 Gaussians: discriminators of one generator and of an ensemble"
    paper = "Chavdarova & Fleuret 2018, SGAN (arXiv:1712.02330)"
    figure = "figure 2a–c"
    deviations = (
        DATA_DEVIATION,
        "Both start from the same parameters, but samples and latents are the regular pair's own; the paper had them "
        "identical.",
        "A mode stands out where D's score at its centre exceeds the scores at four points around it: halfway to both "
        "neighbours, and 4σ inwards and outwards. The paper shows level sets.",
        "Numbers are means over the last three of six moments of training.",
        VANILLA_DEVIATION,
    )
    tried = (
        "By an earlier rule, a score above its mean on a circle of 4σ, nearly every mode stood out for both "
        "discriminators: the mean lies lower wherever there is a ridge along the data."
    )
    sizes = {
        "smoke": {
            "steps": 6,
            "pairs": 2,
            "seeds": 2,
            "turns": 1,
            "messengers": 2,
            "width": 16,
            "latent": 4,
            "batch": 16,
            "rate": 3e-3,
        },
        "laptop": {
            "steps": 300,
            "pairs": 5,
            "seeds": 8,
            "turns": 1,
            "messengers": 10,
            "width": 64,
            "latent": 16,
            "batch": 64,
            "rate": 1e-3,
        },
        "paper": {
            "steps": 60_000,
            "pairs": 5,
            "seeds": 8,
            "turns": 1,
            "messengers": 10,
            "width": 512,
            "latent": 100,
            "batch": 256,
            "rate": 1e-5,
        },
    }
    claims = (
        Claim(
            "The ensemble covers modes that single generators miss: modes of the union less the mean of its members'",
            lambda findings: Estimate.difference(findings["union"], findings["single"]),
            above(0),
            "more (picture)",
        ),
        Claim(
            "D taught by the ensemble sets more modes apart than D taught by one generator: modes standing out, less",
            lambda findings: Estimate.difference(findings["sgan"]["apart"], findings["gan"]["apart"]),
            above(0),
            "more (picture)",
        ),
        Claim(
            "Level sets of D taught by the ensemble set nearly all modes apart",
            lambda findings: Estimate.median(findings["sgan"]["apart"], "of 10 modes"),
            at_least(9),
            "all 10 (picture)",
        ),
    )

    def conduct(self, folder: Path, track: Track, **size: Any) -> Findings:
        """Train both, and return covered modes, distinct modes, and the last measurements."""
        game = toy_game(ring_of_gaussians(MODES), False, size["width"], size["latent"], size["batch"])
        adam, turns, steps = Adam(size["rate"], (0.5, 0.999)), size["turns"], size["steps"]
        evaluation_steps = [max(1, steps * (index + 1) // EVALUATIONS) for index in range(EVALUATIONS)]
        findings: Findings = {}
        for name, method in (
            ("sgan", methods.sgan(size["pairs"], turns, optimizer=adam, messenger_steps=size["messengers"])),
            ("gan", methods.alternating(adam, discriminator_turns=turns)),
        ):
            run = Run(game, method, steps, size["seeds"])
            by_step = train_and_evaluate_pairs(run, folder / name, evaluation_steps, {}, track)
            late_results = [by_step[step] for step in evaluation_steps[EVALUATIONS // 2 :]]
            distinct_modes = np.array(
                [[_count_distinct_modes(levels) for levels in result["levels"][:, 0]] for result in late_results]
            )
            findings[name] = {"apart": distinct_modes.mean(0), "last": by_step[evaluation_steps[-1]]}
            if name == "sgan":
                findings["single"] = np.array(
                    [_covered(result["samples"][:, 1:]).sum(-1).mean(1) for result in late_results]
                ).mean(0)
                findings["union"] = np.array(
                    [_covered(result["samples"][:, 1:]).any(1).sum(-1) for result in late_results]
                ).mean(0)
        return findings

    def draw(self, findings: Findings, figure: Figure) -> None:
        """Draw the data, and the first seed's two discriminators with the samples that they were trained on."""
        extent = (-AXIS_LIMIT, AXIS_LIMIT, -AXIS_LIMIT, AXIS_LIMIT)
        panels = {
            "real samples": (None, ()),
            "GAN": (findings["gan"]["last"], slice(0, 1)),
            "SGAN's global D, local generators": (findings["sgan"]["last"], slice(1, None)),
        }
        for column, (title, (result, pairs)) in enumerate(panels.items()):
            axes = figure.add_subplot(1, 3, column + 1, aspect="equal", xlim=extent[:2], ylim=extent[2:], title=title)
            axes.scatter(*findings["gan"]["last"]["real"].T, s=3, color="orange", zorder=2)
            axes.set(xticks=[], yticks=[])
            if result is None:
                continue
            axes.contourf(result["levels"][0, 0], 14, extent=extent, cmap="viridis_r", alpha=0.5)
            for index, samples in enumerate(result["samples"][0, pairs]):
                axes.scatter(*samples.T, s=3, color=f"C{index}" if column == 2 else "C3", zorder=3)
            axes.set_xlabel(f"{_count_distinct_modes(result['levels'][0, 0])} of {MODES} modes stand out")


def _covered(samples: np.ndarray) -> np.ndarray:
    """Return whether samples (…, count, 2) cover each mode by the 3σ rule, (…, modes)."""
    point_sets = samples.reshape(-1, *samples.shape[-2:])
    covered_modes = np.array(
        [cdist(ring_of_gaussians(MODES).centres.numpy(), points).min(1) <= 3 * SIGMA for points in point_sets]
    )
    return covered_modes.reshape(*samples.shape[:-2], MODES)


def _count_distinct_modes(levels: np.ndarray) -> int:
    """Return the number of modes whose score exceeds those halfway to both neighbours, and those further in and out."""
    axis = np.linspace(-AXIS_LIMIT, AXIS_LIMIT, len(levels))
    score = RegularGridInterpolator((axis, axis), levels)  # rows are y
    centres = ring_of_gaussians(MODES).centres.numpy()[:, ::-1]
    halfway = [(centres + np.roll(centres, shift, axis=0)) / 2 for shift in (-1, 1)]
    radially = [centres * (1 + sign * PEAK_WIDTH / RADIUS) for sign in (-1, 1)]
    return int(np.all([score(centres) > score(points) for points in (*halfway, *radially)], axis=0).sum())
