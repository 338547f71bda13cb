"""SGAN on images: a regular pair, the global pair and the local ones at moments of their trainings."""

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
from detente.experiments.support.interval_estimate import Estimate
from detente.experiments.support.step_evaluation import compute_metrics, evaluate_at_steps
from detente.games.adversarial import Adversarial
from detente.metrics.base import Metric
from detente.metrics.context import Subject
from detente.optimizers.adam import Adam
from detente.training.run import Run

if TYPE_CHECKING:
    from matplotlib.axes import Axes

PAPER = "Chavdarova & Fleuret 2018, SGAN (arXiv:1712.02330)"
REGULAR, SGAN = "regular", "sgan"
IMAGES_IN_FIGURE, METRIC_SAMPLES = (
    16,
    64,
)  # images in a picture; samples of the record's own measurements, which are not read here
DIVERGED_VALUES = {"score": 1.0, "entropy": 0.0}  # what counts where samples are no numbers


def train_regular_and_sgan(
    game: Adversarial, turns: int, size: dict[str, Any], metrics: Mapping[str, Metric], folder: Path, track: Track
) -> Findings:
    """Train a regular pair and SGAN, with Adam (0.5, 0.999), and return what was seen of both.

    Args:
        game: of every pair.
        turns: the discriminator's turns, a local one's and a messenger's too.
        size: with `moments`, `seeds`, `pairs`, `rate` and `samples`.
        metrics: what is measured, by name.
        folder: for the runs.
        track: shows how far it has come.

    Returns:
        By kind, "regular" and "sgan": each metric, (seeds, moments, pairs), the global pair first; and the first seed's
        `images` at the end, (pairs, 16, C, H, W).
    """
    adam = Adam(size["rate"], (0.5, 0.999))
    kinds = {
        REGULAR: methods.alternating(adam, discriminator_turns=turns),
        SGAN: methods.sgan(size["pairs"], turns, optimizer=adam),
    }
    moments = size["moments"]

    def look(subject: Subject) -> dict[str, Any]:
        return {**compute_metrics(metrics, subject), "images": subject.samples[:IMAGES_IN_FIGURE].cpu().numpy()}

    found: Findings = {}
    for kind, method in kinds.items():
        run = Run(
            game, method, moments[-1], tuple(range(size["seeds"])), samples=METRIC_SAMPLES, device=default_device()
        )
        seen = evaluate_at_steps(run, folder / kind, moments, look, size["samples"], track)
        numbers = {name: np.stack([seen[step][name] for step in moments], axis=1) for name in metrics}
        found[kind] = {name: np.nan_to_num(one, nan=DIVERGED_VALUES.get(name, np.nan)) for name, one in numbers.items()}
        found[kind]["images"] = seen[moments[-1]]["images"][0]
    return found


def global_advantage(found: Findings, name: str, of: str) -> np.ndarray:
    """Return a metric of the global pair less that of a regular pair, or of the local ones' mean, (seeds, moments)."""
    others = found[SGAN][name][:, :, 1:] if of == "local" else found[REGULAR][name]
    return found[SGAN][name][:, :, 0] - others.mean(2)


def higher_score_claim(name: str, of: str, paper: str) -> Claim:
    """Return the claim that a game's global generator scores higher along the training than others."""
    who = "a regular one" if of == REGULAR else "the local ones on average"
    return Claim(
        f"{name}: the global generator is ahead of {who}: score, mean over the moments, difference",
        lambda f: Estimate.mean(global_advantage(f[name], "score", of).mean(1)),
        lambda found: found.low > 0,
        paper,
    )


def draw_curves(axes: Axes, moments: np.ndarray, found: Findings, name: str) -> None:
    """Draw a metric over training: regular, local (each first-seed pair thin) and global, means over seeds thick."""
    local = found[SGAN][name][:, :, 1:]
    axes.plot(moments, local[0], color="C0", lw=0.5, alpha=0.5)
    axes.plot(moments, local.mean((0, 2)), color="C0", label="local")
    axes.plot(moments, found[REGULAR][name].mean((0, 2)), color="C2", label="regular")
    axes.plot(moments, found[SGAN][name][:, :, 0].mean(0), color="C1", lw=2, label="global")
    axes.tick_params(labelsize="x-small")


def draw_samples(axes: tuple[Axes, Axes, Axes], found: Findings) -> None:
    """Draw the first seed's samples at the end: regular, local (a row each) and global."""
    images = torch.from_numpy(found[SGAN]["images"])
    locals_of = images[1:, :4].flatten(0, 1)
    show_grid(axes[0], torch.from_numpy(found[REGULAR]["images"][0]), 4, 4)
    show_grid(axes[1], locals_of, len(images) - 1, 4)
    show_grid(axes[2], images[0], 4, 4)
    for one, title in zip(axes, ("regular", "local, a row each", "global"), strict=True):
        one.set_xlabel(title, fontsize="x-small")
