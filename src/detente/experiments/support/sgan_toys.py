"""Toys of SGAN's paper, and what its global pair and its local ones look like at moments of a training."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from detente.data.base import Data
from detente.data.gaussian_mixture import Ring
from detente.experiments.base import Track
from detente.experiments.support.step_evaluation import compute_metrics, evaluate_at_steps
from detente.games.adversarial import Adversarial
from detente.metrics.base import Metric
from detente.metrics.context import Subject
from detente.networks.mlp import MLP
from detente.penalties.gradient_penalty import GradientPenalty
from detente.training.run import Run

RADIUS, SIGMA = 2**0.5, 0.1
DATA_DEVIATION = (
    f"The paper gives no sizes: Gaussians on a circle of radius √2 have σ = {SIGMA}; the penalty's λ is 0.1."
)
RATE_DEVIATION = (
    "Laptop's learning rate is the smaller of 1e-3 and 3e-3 at which single regular pairs reach the data in 400 steps, "
    "on seeds 900 to 904, which no experiment uses."
)
SAMPLES, POINTS, RESOLUTION, AXIS_LIMIT = 512, 256, 40, 2.2


def ring_of_gaussians(modes: int) -> Ring:
    """Return the mixture of as many Gaussians on a circle, drawn independently."""
    return Ring(modes, SIGMA, RADIUS, "random")


def toy_game(data: Data, wasserstein: bool, width: int, latent: int, batch: int) -> Adversarial:
    """Return the paper's game for points: four linear layers and LeakyReLU in both networks.

    Args:
        data: points in the plane.
        wasserstein: WGAN-GP; else the non-saturating GAN.
        width: units in a hidden layer; the paper has 512.
        latent: length of a latent vector; the paper has 100.
        batch: samples in a batch.
    """
    network = partial(MLP, width=width, depth=3, activation="leaky_relu")
    networks = partial(network, latent, 2), partial(network, 2, 1)
    if wasserstein:
        return Adversarial(*networks, data, latent, "wasserstein", (GradientPenalty(0.1),), batch)
    return Adversarial(*networks, data, latent, "non_saturating", (), batch)


def train_and_evaluate_pairs(
    run: Run, directory: Path, moments: Sequence[int], metrics: Mapping[str, Metric], track: Track
) -> dict[int, dict[str, np.ndarray]]:
    """Train to each moment in turn, and return what was seen there; it is kept in files, so seen only once.

    Args:
        run: the training; its number of steps is replaced by the moments.
        directory: for its run directory and the files.
        moments: steps, ascending.
        metrics: what is measured, by name.
        track: shows how far it has come.

    Returns:
        By moment: each metric, `samples` (POINTS) and `levels` (scores on a grid), (seeds, 1 + pairs, …), the global
        pair first; and the points `real`.
    """
    game = run.game
    assert isinstance(game, Adversarial)

    def look(subject: Subject) -> dict[str, Any]:
        levels = game.scores(subject.state, score_grid()).reshape(RESOLUTION, RESOLUTION).numpy()
        numbers = compute_metrics(metrics, subject)
        return {**numbers, "samples": subject.samples[:POINTS].numpy(), "levels": levels}

    real = game.data.draw(POINTS, torch.Generator().manual_seed(0))["real"].numpy()
    seen = evaluate_at_steps(run, directory, moments, look, SAMPLES, track)
    return {step: {**one, "real": real} for step, one in seen.items()}


def score_grid(reach: float = AXIS_LIMIT) -> Tensor:
    """Return the points at which scores are looked at, (RESOLUTION², 2), row by row from below."""
    axis = torch.linspace(-reach, reach, RESOLUTION)
    return torch.cartesian_prod(axis, axis)[:, [1, 0]]
