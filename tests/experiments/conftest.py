"""An untrained classifier for the smoke profiles of experiments on images."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch

from detente.metrics.features import classifier
from detente.metrics.features import extractor as features


@pytest.fixture(scope="module", autouse=True)
def classifiers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Store the classifier and its features in a temporary folder instead of the user's cache."""
    folder = tmp_path_factory.mktemp("cache")
    with pytest.MonkeyPatch.context() as patch:
        for module in (classifier, features):
            patch.setattr(module, "cache", lambda: folder)
        with torch.random.fork_rng():
            torch.manual_seed(0)
            network = classifier.Network(1, 28, 10)
        classifier.save(
            network,
            name="digits",
            accuracy=0.1,
            held_out=1,
            trained_on=0,
            epochs=0,
            seed=0,
            data="",
            shape=(1, 28, 28),
            classes=10,
        )
        yield
