"""What a classifier of the set sees in generated images along a training."""

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
from detente.metrics.context import Subject
from detente.metrics.features import classifier, inception
from detente.metrics.features.extractor import Extractor, of_samples
from detente.metrics.frechet import frechet_distance, moments, real_moments
from detente.metrics.inception_score import inception_score
from detente.training.run import Run

IMAGES_IN_FIGURE = 24  # images kept for the figure
PLOT_TITLES = {
    "score": "Inception Score by the classifier",
    "entropy": "entropy of the classes (nats)",
    "variation": "total variation to uniform",
}


def class_evaluator(name: str, real: StoredData | None = None) -> Evaluate:
    """Return what looks at samples of a set with its classifier, or with Inception where the papers do.

    It sees `images` (24, C, H, W), `shares` (K,) of the classes, `entropy` of them in nats, their total `variation` to
    uniform, and the Inception `score` of all samples in one part; NaN where the images are no numbers.

    Args:
        name: of the set, as in `image_sets`.
        real: real images, for their Fréchet `distance` from the generated ones.

    Raises:
        InvalidValue: the set has no classifier yet; with the command that trains it.
    """
    extractor: Extractor = inception.load() if name in INCEPTION_SETS else classifier.load(name)
    target = None if real is None else real_moments(real, extractor)

    def look(subject: Subject) -> dict[str, Any]:
        seen = of_samples(subject, extractor)
        found = {"images": subject.samples[:IMAGES_IN_FIGURE].half().cpu().numpy()}
        if not seen.defined:
            nothing = dict.fromkeys((*PLOT_TITLES, "distance"), math.nan)
            return found | nothing | {"shares": np.full(seen.logits.shape[1], math.nan)}
        shares = class_histogram(seen.logits)
        numbers = {
            "score": inception_score(seen.probabilities, 1)[0],
            "entropy": entropy(shares),
            "variation": total_variation(shares),
            "distance": math.nan if target is None else frechet_distance(target, moments(seen.features)),
        }
        return found | numbers | {"shares": shares.numpy()}

    return look


def train_and_evaluate(
    run: Run, directory: Path, steps: Sequence[int], look: Evaluate, samples: int, track: Track
) -> Findings:
    """Train, and return what was seen on the way.

    Args:
        run: the training, of an adversarial game; its number of steps is replaced by the last of `steps`.
        directory: where.
        steps: when to look, ≥ 1, ascending.
        look: what is looked at.
        samples: how many samples a look has.
        track: shows how far it has come.

    Returns:
        What was seen by name, (seeds, looks, …), `steps` (looks,), and `gradients` (looks,): how many gradients of one
        player's loss on one image were taken until then.
    """
    seen = evaluate_at_steps(run, directory, steps, look, samples, track)
    assert isinstance(run.game, Adversarial)
    cost = run.method.gradient_evaluations(run.game) * run.game.batch
    found = {name: np.stack([seen[step][name][:, 0] for step in steps], 1) for name in seen[steps[0]]}
    return {**found, "steps": np.array(steps), "gradients": cost * np.array(steps)}


def evenly_spaced_steps(last: int, count: int) -> list[int]:
    """Return `count` steps at equal distances, or fewer, the last of them `last`."""
    count = min(count, last)
    return sorted({round(last * (index + 1) / count) for index in range(count)})
