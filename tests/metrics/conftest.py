"""A cache for each test that holds the digits, and evaluation contexts with hand-made samples."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from detente.data import digits
from detente.metrics.context import EvaluationContext
from detente.metrics.features.classifier import Classifier, Network, save
from detente.state import State


@pytest.fixture(scope="session")
def table() -> np.ndarray:
    """The 5,000 digits, parsed or read once for all tests."""
    return digits._table()


@pytest.fixture
def own_cache(table: np.ndarray, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache, but for the digits."""
    monkeypatch.setenv("DETENTE_CACHE", str(tmp_path))
    np.save(tmp_path / "mnist_5000.npy", table)
    return tmp_path


@pytest.fixture
def random_classifier(own_cache: Path) -> Classifier:
    """A classifier of the digits in the cache, with random parameters."""
    with torch.random.fork_rng():
        torch.manual_seed(3)
        network = Network(1, 28, 10)
    with torch.no_grad():
        network.last.weight *= 40  # so that different images have different classes
    information = {
        "name": "digits",
        "accuracy": 0.1,
        "held_out": 10,
        "trained_on": 0,
        "epochs": 0,
        "seed": 3,
        "data": "none",
    }
    return save(network, **information, shape=(1, 28, 28), classes=10)


class FixedGame:
    """A game whose generator returns given samples, and which counts its calls."""

    def __init__(self, data: Any, samples: Tensor) -> None:
        self.data, self.samples, self.sample_calls = data, samples, 0

    def sample(self, state: State, count: int, generator: torch.Generator) -> Tensor:
        self.sample_calls += 1
        return self.samples


@pytest.fixture
def subject_of() -> Callable[[Any, Tensor], EvaluationContext]:
    """Return the subject of some data and given samples."""

    def build(data: Any, samples: Tensor) -> EvaluationContext:
        game: Any = FixedGame(data, samples)
        return EvaluationContext(
            game, State(torch.tensor(0), {}), torch.Generator().manual_seed(1), samples=len(samples)
        )

    return build


@pytest.fixture
def images() -> Tensor:
    """Sixty images (60, 1, 28, 28) of noise, some with more of it than others."""
    generator = torch.Generator().manual_seed(0)
    noise = torch.randn(60, 1, 28, 28, generator=generator)
    return (noise * torch.linspace(0.1, 2, 60)[:, None, None, None]).clamp(-1, 1)
