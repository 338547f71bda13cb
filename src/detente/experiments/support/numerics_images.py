"""The Numerics of GANs on images: its networks, and scores during a training."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from detente.data.base import Data
from detente.experiments.base import Findings, Track
from detente.experiments.support.image_sets import default_device, load_image_set, score_metric
from detente.experiments.support.step_evaluation import evaluate_at_steps, train_to_step
from detente.games.adversarial import Adversarial
from detente.methods.method import Method
from detente.metrics.context import EvaluationContext
from detente.networks.convolutional import ConvolutionalDiscriminator, ConvolutionalGenerator
from detente.training.run import Run

PAPER = "Mescheder, Nowozin & Geiger 2017, The Numerics of GANs"
DATA_DEVIATION = (
    "Laptop: Fashion-MNIST at 28 × 28 and the score of its own classifier on 500 samples; the paper has CIFAR-10 and "
    "the Inception Score on 6,400. Scores that are no number (a training that diverged) count as 1, the least there is."
)
IMAGES_IN_FIGURE, RECORDS, LOWEST_SCORE = 16, 60, 1.0
METRIC_SAMPLES = 64  # for the metrics in the run directory, which experiments do not read
Size = dict[str, Any]
SMOKE: Size = {
    "data": "digits",
    "width": 2,
    "latent": 4,
    "hidden": 4,
    "batch": 8,
    "rate": 1e-3,
    "steps": 2,
    "looks": 2,
    "seeds": 1,
    "samples": 20,
}
LAPTOP: Size = {
    "data": "fashion_mnist",
    "width": 8,
    "latent": 32,
    "hidden": 64,
    "batch": 16,
    "rate": 3e-3,
    "steps": 500,
    "looks": 5,
    "seeds": 7,
    "samples": 500,
}
FULL: Size = {
    "data": "cifar10",
    "width": 64,
    "latent": 256,
    "hidden": 512,
    "batch": 64,
    "rate": 1e-4,
    "steps": 150_000,
    "looks": 30,
    "seeds": 3,
    "samples": 6_400,
}


def describe_laptop_size(laptop: Size) -> str:
    """Return a sentence that says what is smaller in the laptop profile than in the paper."""
    return (
        f"Laptop: width {laptop['width']}, latents of {laptop['latent']}, batches of {laptop['batch']}, "
        f"{laptop['steps']} steps at rate {laptop['rate']:g}; the paper has width 64, latents "
        "of 256, batches of 64 and 150,000 steps at rate 1e-4 (from its code). The rate is the smaller of "
        "1e-3 and 3e-3 at which consensus with constant filters left its start within 400 steps, on digits, with seed "
        "900, which no experiment uses."
    )


def numerics_dcgan(size: Size, objective: str = "non_saturating", layers: int = 4, **options: Any) -> Adversarial:
    """Return one of the paper's DCGANs on the image set that a size names.

    Args:
        size: settings of the experiment.
        objective: name of the objective.
        layers: number of convolutions; with 3 the generator uses ReLU, as in the authors' code.
        options: `constant` and `batch_norm` of both networks, `hidden` of the discriminator.

    Raises:
        InvalidValue: the set or its classifier is missing; the message names the command to run.
    """
    data: Data = load_image_set(size["data"])
    channels, side = data.shape[0], data.shape[-1]
    hidden = options.pop("hidden", 0)
    network = {"channels": channels, "size": side, "width": size["width"], "layers": layers, **options}
    activation = "relu" if layers == 3 else "leaky_relu"
    return Adversarial(
        partial(ConvolutionalGenerator, latent=size["latent"], activation=activation, **network),
        partial(ConvolutionalDiscriminator, hidden=hidden, **network),
        data,
        size["latent"],
        objective,
        (),
        size["batch"],
    )


def train_and_score(game: Adversarial, method: Method, size: Size, folder: Path, track: Track) -> Findings:
    """Train, and return scores, final images and losses.

    Returns:
        `steps` (k,) and `scores` (seeds, k), with NaN replaced by 1; `images` (16, C, H, W) of the first seed at the
        end; `losses`: for each player the steps and the values (seeds, records).
    """
    steps, metric = size["steps"], score_metric(size["data"])
    evaluation_steps = sorted({max(1, steps * k // size["looks"]) for k in range(1, size["looks"] + 1)})

    def evaluate(subject: EvaluationContext) -> dict[str, Any]:
        return {"score": metric(subject), "images": subject.samples[:IMAGES_IN_FIGURE].cpu().numpy()}

    seeds, record_every = size["seeds"], max(1, steps // RECORDS)
    run = Run(game, method, steps, seeds, record_every=record_every, samples=METRIC_SAMPLES, device=default_device())
    by_step = evaluate_at_steps(run, folder, evaluation_steps, evaluate, size["samples"], track)
    training = train_to_step(run, folder, steps, steps, track)
    scores = np.stack([by_step[step]["score"][:, 0] for step in evaluation_steps], axis=1)
    return {
        "steps": np.array(evaluation_steps),
        "scores": np.nan_to_num(scores, nan=LOWEST_SCORE),
        "images": by_step[evaluation_steps[-1]]["images"][0, 0],
        "losses": {player: training.curve(player, "losses") for player in game.players},
    }


def final_scores(result: Findings) -> np.ndarray:
    """Return the scores at the last step, (seeds,)."""
    return result["scores"][:, -1]


def share_of_successes(runs: list[Findings], all_runs: list[Findings]) -> float:
    """Return the share of the runs that succeed: final score ≥ 2 and half-way from 1 to the best of all runs."""
    best = max(final_scores(run_result).max() for run_result in all_runs)
    scores = np.concatenate([final_scores(run_result) for run_result in runs])
    return float((scores >= max(2, LOWEST_SCORE + (best - LOWEST_SCORE) / 2)).mean())
