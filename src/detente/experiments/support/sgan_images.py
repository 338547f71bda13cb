"""SGAN on images: a regular pair, the global pair and the local pairs at given steps of their trainings."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from detente import methods
from detente.experiments.base import Claim, Findings, Track
from detente.experiments.support.image_grids import show_grid
from detente.experiments.support.image_sets import default_device
from detente.experiments.support.interval_estimate import Estimate, above
from detente.experiments.support.step_evaluation import compute_metrics, evaluate_at_steps
from detente.games.adversarial import Adversarial
from detente.metrics.base import Metric
from detente.metrics.context import EvaluationContext
from detente.optimizers.adam import Adam
from detente.training.run import Run

if TYPE_CHECKING:
    from matplotlib.axes import Axes

PAPER = "Chavdarova & Fleuret 2018, SGAN (arXiv:1712.02330)"
REGULAR, SGAN = "regular", "sgan"
IMAGES_IN_FIGURE = 16
METRIC_SAMPLES = 64  # for the metrics in the run directory, which experiments do not read
DIVERGED_VALUES = {"score": 1.0, "entropy": 0.0}  # replace NaN where samples are not finite


def train_regular_and_sgan(
    game: Adversarial, turns: int, size: dict[str, Any], metrics: Mapping[str, Metric], folder: Path, track: Track
) -> Findings:
    """Train a regular pair and SGAN with Adam, β = (0.5, 0.999), and return measurements of both.

    Args:
        game: the game of every pair.
        turns: updates of a discriminator per update of its generator, also for local discriminators.
        size: settings with `moments`, `seeds`, `pairs`, `messengers` (their steps), `rate` and `samples`.
        metrics: metrics by name.
        folder: where the runs are written.
        track: shows progress.

    Returns:
        For "regular" and "sgan": each metric, (seeds, steps, pairs), the global pair first; and the first seed's
        `images` at the end, (pairs, 16, C, H, W).
    """
    adam = Adam(size["rate"], (0.5, 0.999))
    method_by_kind = {
        REGULAR: methods.alternating(adam, discriminator_turns=turns),
        SGAN: methods.sgan(size["pairs"], turns, optimizer=adam, messenger_steps=size["messengers"]),
    }
    steps = size["moments"]

    def evaluate(subject: EvaluationContext) -> dict[str, Any]:
        return {**compute_metrics(metrics, subject), "images": subject.samples[:IMAGES_IN_FIGURE].cpu().numpy()}

    results: Findings = {}
    for kind, method in method_by_kind.items():
        run = Run(game, method, steps[-1], size["seeds"], samples=METRIC_SAMPLES, device=default_device())
        by_step = evaluate_at_steps(run, folder / kind, steps, evaluate, size["samples"], track)
        metric_values = {name: np.stack([by_step[step][name] for step in steps], axis=1) for name in metrics}
        results[kind] = {
            name: np.nan_to_num(values, nan=DIVERGED_VALUES.get(name, np.nan)) for name, values in metric_values.items()
        }
        results[kind]["images"] = by_step[steps[-1]]["images"][0]
    return results


def global_advantage(results: Findings, name: str, reference: str) -> np.ndarray:
    """Return a metric of the global pair minus that of a regular pair or the local pairs' mean, (seeds, steps)."""
    others = results[SGAN][name][:, :, 1:] if reference == "local" else results[REGULAR][name]
    return results[SGAN][name][:, :, 0] - others.mean(2)


def higher_score_claim(name: str, reference: str, paper: str) -> Claim:
    """Return the claim that the global generator scores higher during training than a reference."""
    others = "a regular one" if reference == REGULAR else "the local ones on average"
    return Claim(
        f"{name}: the global generator is ahead of {others}: score, mean over the moments, difference",
        lambda findings: Estimate.median(global_advantage(findings[name], "score", reference).mean(1)),
        above(0),
        paper,
    )


def draw_curves(axes: Axes, steps: np.ndarray, results: Findings, name: str) -> None:
    """Plot a metric over training: means of regular, local and global generators; the first seed's local pairs thin."""
    local = results[SGAN][name][:, :, 1:]
    axes.plot(steps, local[0], color="C0", lw=0.5, alpha=0.5)
    axes.plot(steps, local.mean((0, 2)), color="C0", label="local")
    axes.plot(steps, results[REGULAR][name].mean((0, 2)), color="C2", label="regular")
    axes.plot(steps, results[SGAN][name][:, :, 0].mean(0), color="C1", lw=2, label="global")
    axes.tick_params(labelsize="x-small")


def draw_samples(axes: tuple[Axes, Axes, Axes], results: Findings) -> None:
    """Draw the first seed's final samples: regular, local (one row each) and global."""
    images = torch.from_numpy(results[SGAN]["images"])
    local_images = images[1:, :4].flatten(0, 1)
    show_grid(axes[0], torch.from_numpy(results[REGULAR]["images"][0]), 4, 4)
    show_grid(axes[1], local_images, len(images) - 1, 4)
    show_grid(axes[2], images[0], 4, 4)
    for ax, title in zip(axes, ("regular", "local, a row each", "global"), strict=True):
        ax.set_xlabel(title, fontsize="x-small")
