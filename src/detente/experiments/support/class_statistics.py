"""Class statistics and scores of generated images during a training, from a classifier of the data set."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from detente.data.base import StoredData
from detente.experiments.base import Findings, Track
from detente.experiments.support.image_sets import INCEPTION_SETS
from detente.experiments.support.step_evaluation import Evaluate, evaluate_at_steps
from detente.games.adversarial import Adversarial
from detente.metrics.class_balance import class_histogram, entropy, total_variation
from detente.metrics.context import EvaluationContext
from detente.metrics.features import classifier, inception
from detente.metrics.features.extractor import Extractor, of_samples
from detente.metrics.frechet import frechet_distance, moments, real_moments
from detente.metrics.inception_score import inception_score
from detente.training.run import Run

IMAGES_IN_FIGURE = 24
PLOT_TITLES = {
    "score": "Inception Score by the classifier",
    "entropy": "entropy of the classes (nats)",
    "variation": "total variation to uniform",
}


def class_evaluator(name: str, real: StoredData | None = None) -> Evaluate:
    """Return a function that measures generated images with the data set's classifier, or with Inception.

    It returns `images` (24, C, H, W), the `shares` (K,) of the classes, their `entropy` in nats, their total
    `variation` distance to uniform, and the Inception `score` of all samples in one part; NaN if the images are not
    finite.

    Args:
        name: the image set, as in `image_sets`.
        real: real images; if given, the Fréchet `distance` between them and the generated ones is measured too.

    Raises:
        InvalidValue: the set has no classifier yet; the message names the command that trains one.
    """
    extractor: Extractor = inception.load() if name in INCEPTION_SETS else classifier.load(name)
    target = None if real is None else real_moments(real, extractor)

    def evaluate(subject: EvaluationContext) -> dict[str, Any]:
        extracted = of_samples(subject, extractor)
        measurements = {"images": subject.samples[:IMAGES_IN_FIGURE].half().cpu().numpy()}
        if not extracted.defined:
            undefined = dict.fromkeys((*PLOT_TITLES, "distance"), math.nan)
            return measurements | undefined | {"shares": np.full(extracted.logits.shape[1], math.nan)}
        shares = class_histogram(extracted.logits)
        numbers = {
            "score": inception_score(extracted.probabilities, 1)[0],
            "entropy": entropy(shares),
            "variation": total_variation(shares),
            "distance": math.nan if target is None else frechet_distance(target, moments(extracted.features)),
        }
        return measurements | numbers | {"shares": shares.numpy()}

    return evaluate


def train_and_evaluate(
    run: Run, directory: Path, steps: Sequence[int], evaluate: Evaluate, samples: int, track: Track
) -> Findings:
    """Train, and return the measurements taken at given steps.

    Args:
        run: the training of an adversarial game; its number of steps is replaced by the last of `steps`.
        directory: where the run and the measurements are written.
        steps: when to measure, ≥ 1, ascending.
        evaluate: measures samples, by name.
        samples: number of samples in each evaluation.
        track: shows progress.

    Returns:
        Each measurement by name, (seeds, steps, …); `steps` (steps,); and `gradients` (steps,): the number of gradients
        of one player's loss on one image that were computed up to each step.
    """
    by_step = evaluate_at_steps(run, directory, steps, evaluate, samples, track)
    assert isinstance(run.game, Adversarial)
    gradients_per_step = run.method.gradient_evaluations(run.game) * run.game.batch
    curves = {name: np.stack([by_step[step][name][:, 0] for step in steps], 1) for name in by_step[steps[0]]}
    return {**curves, "steps": np.array(steps), "gradients": gradients_per_step * np.array(steps)}


def evenly_spaced_steps(last: int, count: int) -> list[int]:
    """Return at most `count` evenly spaced steps that end with `last`."""
    count = min(count, last)
    return sorted({round(last * (index + 1) / count) for index in range(count)})
