"""Two-dimensional games of SGAN's paper, and measurements of its global and local pairs during a training."""

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
from detente.metrics.context import EvaluationContext
from detente.networks.mlp import MLP
from detente.penalties.gradient_penalty import GradientPenalty
from detente.training.run import Run

RADIUS, SIGMA = 2**0.5, 0.1
DATA_DEVIATION = (
    f"The paper gives no sizes: Gaussians on a circle of radius √2 have σ = {SIGMA}; the penalty's λ is 0.1."
)
VANILLA_DEVIATION = (
    "Laptop: hidden layers of 64, latents of 16, batches of 64, rate 1e-3, one turn (I_D) of each discriminator and "
    "ten steps of each messenger; the paper has 512, 100 and 1e-5, and does not give the batch, I_D or the number of "
    "steps. Found on seeds 900 and 901: with five steps of the messengers the global generator stays scattered (−12 "
    "to −67 nats after 300 steps, with ten −3), and with I_D = 5 the local pairs come no nearer to the data."
)
REGIME_DEVIATION = (
    "Laptop: hidden layers of 64, latents of 16, batches of 64, rate 1e-3, and five turns (I_D) of each discriminator "
    "and of each messenger for one of its generator; the paper has 512, 100 and 1e-5, and does not give the batch, "
    "I_D or the number of steps. The regime was found on seeds from 900 on, which no experiment uses."
)
SAMPLES, POINTS, RESOLUTION, AXIS_LIMIT = 512, 256, 40, 2.2


def ring_of_gaussians(modes: int) -> Ring:
    """Return a mixture of Gaussians on a circle, with independently drawn modes."""
    return Ring(modes, SIGMA, RADIUS, "random")


def toy_game(data: Data, wasserstein: bool, width: int, latent: int, batch: int) -> Adversarial:
    """Return the paper's game for points in the plane: both networks have four linear layers and LeakyReLU.

    Args:
        data: points in the plane.
        wasserstein: WGAN-GP if true, otherwise the non-saturating GAN.
        width: units per hidden layer; the paper has 512.
        latent: length of a latent vector; the paper has 100.
        batch: samples per batch.
    """
    network = partial(MLP, width=width, depth=3, activation="leaky_relu")
    networks = partial(network, latent, 2), partial(network, 2, 1)
    if wasserstein:
        return Adversarial(*networks, data, latent, "wasserstein", (GradientPenalty(0.1),), batch)
    return Adversarial(*networks, data, latent, "non_saturating", (), batch)


def train_and_evaluate_pairs(
    run: Run, directory: Path, evaluation_steps: Sequence[int], metrics: Mapping[str, Metric], track: Track
) -> dict[int, dict[str, np.ndarray]]:
    """Train to each step in turn, and return measurements there; they are cached in files.

    Args:
        run: the training; its number of steps is replaced by the evaluation steps.
        directory: where the run and the measurements are written.
        evaluation_steps: steps at which to measure, ascending.
        metrics: metrics by name.
        track: shows progress.

    Returns:
        For each step: each metric, `samples` (POINTS) and `levels` (scores on a grid), (seeds, 1 + pairs, …), the
        global pair first; and `real` points.
    """
    game = run.game
    assert isinstance(game, Adversarial)

    def evaluate(subject: EvaluationContext) -> dict[str, Any]:
        levels = game.scores(subject.state, score_grid()).reshape(RESOLUTION, RESOLUTION).numpy()
        metric_values = compute_metrics(metrics, subject)
        return {**metric_values, "samples": subject.samples[:POINTS].numpy(), "levels": levels}

    real = game.data.draw(POINTS, torch.Generator().manual_seed(0))["real"].numpy()
    by_step = evaluate_at_steps(run, directory, evaluation_steps, evaluate, SAMPLES, track)
    return {step: {**measurements, "real": real} for step, measurements in by_step.items()}


def score_grid(reach: float = AXIS_LIMIT) -> Tensor:
    """Return the points at which scores are evaluated, (RESOLUTION², 2), row by row from the bottom."""
    axis = torch.linspace(-reach, reach, RESOLUTION)
    return torch.cartesian_prod(axis, axis)[:, [1, 0]]
