"""What is seen of trainings at moments, and what is made of it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import pytest
import torch

from detente import methods
from detente.errors import InvalidValue
from detente.experiments.support import image_sets
from detente.experiments.support.image_scores import succeeding
from detente.experiments.support.moments import part_of, seen_at
from detente.experiments.support.noise_level import fall
from detente.experiments.support.sgan_images import REGULAR, SGAN, ahead
from detente.games import presets
from detente.metrics.context import EvaluationContext
from detente.metrics.frechet import FID, ClassifierFrechetDistance
from detente.metrics.inception_score import ClassifierScore, InceptionScore
from detente.training.loop import begin
from detente.training.run import Run

T = TypeVar("T")


def silent(items: Iterable[T], name: str, total: int | None = None) -> Iterator[T]:
    yield from items


def look(subject: EvaluationContext) -> dict[str, Any]:
    return {"first": subject.state.vectors["generator"][:3].numpy(), "t": int(subject.state.t), "n": subject.count}


def small(method: Any, seeds: tuple[int, ...] = (3, 5)) -> Run:
    return Run(presets.ring(width=4, depth=1, latent=2, batch=8), method, 4, seeds, samples=8)


def test_moments_lie_on_one_training(tmp_path: Path) -> None:
    """What is seen at each moment is the state that a loop of single steps reaches, whose run was cut in parts."""
    run = small(methods.alternating())
    seen = seen_at(run, tmp_path / "a", [1, 3, 4], look, 5, silent)
    for row, seed in enumerate(run.seeds):
        one = begin(run, seed)
        state, generator = one.state, torch.Generator()
        generator.set_state(one.random)
        for step in range(1, 5):
            batches = tuple(run.game.draw(generator) for _ in range(run.method.draws(run.game)))
            state, _ = run.method.step(run.game, state, batches, tuple({} for _ in batches))
            if step in seen:
                np.testing.assert_allclose(seen[step]["first"][row, 0], state.vectors["generator"][:3], rtol=1e-5)
                assert seen[step]["t"][row, 0] == step and seen[step]["n"][row, 0] == 5
    assert seen[1]["first"].shape == (2, 1, 3)


def test_moments_are_looked_at_once(tmp_path: Path) -> None:
    """A second time the numbers come from the files; a look that must not be taken is not."""

    def never(subject: EvaluationContext) -> dict[str, Any]:
        raise AssertionError

    run = small(methods.alternating())
    first = seen_at(run, tmp_path, [2, 4], look, 5, silent)
    again = seen_at(run, tmp_path, [2, 4], never, 5, silent)
    np.testing.assert_array_equal(first[4]["first"], again[4]["first"])
    assert len(part_of(run, tmp_path, 4, 4, silent).curve("generator", "losses")[0]) == 4


def test_the_global_pair_comes_first(tmp_path: Path) -> None:
    """With SGAN all pairs are seen, and the global one is not among the others."""
    seen = seen_at(small(methods.sgan(3)), tmp_path, [2], look, 5, silent)[2]
    assert seen["first"].shape == (2, 4, 3)
    assert (np.abs(seen["first"][:, :1] - seen["first"][:, 1:]).sum(2) > 0).all()


def test_success_is_half_way_to_the_best() -> None:
    best, poor, lost = ({"scores": np.array([[9.0, one], [9.0, 1.0]])} for one in (5.0, 3.0, 2.9))
    assert succeeding([best, poor, lost], [best, poor, lost]) == (2, 6)
    assert succeeding([lost], [best]) == (0, 2)
    nothing = {"scores": np.array([[1.0, 1.5], [1.0, 1.6]])}
    assert succeeding([nothing], [nothing]) == (0, 2)


def test_ahead_of_a_regular_pair_and_of_the_local_mean() -> None:
    found = {
        SGAN: {"score": np.array([[[5.0, 1.0, 3.0]]])},
        REGULAR: {"score": np.array([[[4.5]]])},
    }
    assert ahead(found, "score", "local").item() == 3
    assert ahead(found, "score", REGULAR).item() == 0.5


def test_a_level_that_falls() -> None:
    assert fall(np.linspace(20, 1, 20)) == pytest.approx(1.5 / 19.5)
    assert fall(np.array([2.0, 4.0])) == 2


def test_sets_say_what_scores_them() -> None:
    assert isinstance(image_sets.score_of("mnist"), ClassifierScore)
    assert isinstance(image_sets.score_of("cifar10"), InceptionScore)
    assert isinstance(image_sets.distance_of("digits"), ClassifierFrechetDistance)
    assert isinstance(image_sets.distance_of("cifar10"), FID)
    assert image_sets.opened("digits").shape == (1, 28, 28)


def test_what_is_missing_is_said_with_the_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DETENTE_CACHE", str(tmp_path))
    with pytest.raises(InvalidValue, match="detente data prepare fashion_mnist"):
        image_sets.opened("fashion_mnist")
    monkeypatch.setattr("detente.metrics.features.classifier.cache", lambda: tmp_path)
    with pytest.raises(InvalidValue, match="detente data classifier digits"):
        image_sets.opened("digits")
