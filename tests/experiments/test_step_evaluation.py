"""Measurements at steps of a training, and numbers computed from them."""

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
from detente.experiments.support.noise_level import noise_decay
from detente.experiments.support.numerics_images import share_of_successes
from detente.experiments.support.sgan_images import REGULAR, SGAN, global_advantage
from detente.experiments.support.step_evaluation import evaluate_at_steps, train_to_step
from detente.games import presets
from detente.metrics.context import EvaluationContext
from detente.metrics.frechet import FID, ClassifierFrechetDistance
from detente.metrics.inception_score import ClassifierScore, InceptionScore
from detente.training.loop import initial_progress
from detente.training.run import Run

T = TypeVar("T")


def no_progress(items: Iterable[T], name: str, total: int | None = None) -> Iterator[T]:
    yield from items


def evaluate(subject: EvaluationContext) -> dict[str, Any]:
    return {"first": subject.state.vectors["generator"][:3].numpy(), "t": int(subject.state.t), "n": subject.count}


def small_run(method: Any, seeds: tuple[int, ...] = (3, 5)) -> Run:
    return Run(presets.ring(width=4, depth=1, latent=2, batch=8), method, 4, seeds, samples=8)


def test_evaluated_states_lie_on_one_training(tmp_path: Path) -> None:
    """The evaluated states of a run in parts equal those of a loop of single steps."""
    run = small_run(methods.alternating())
    by_step = evaluate_at_steps(run, tmp_path / "a", [1, 3, 4], evaluate, 5, no_progress)
    for row, seed in enumerate(run.seeds):
        progress = initial_progress(run, seed)
        state, generator = progress.state, torch.Generator()
        generator.set_state(progress.random)
        for step in range(1, 5):
            batches = tuple(run.game.draw(generator) for _ in range(run.method.draws(run.game)))
            state, _ = run.method.step(run.game, state, batches, tuple({} for _ in batches))
            if step in by_step:
                np.testing.assert_allclose(by_step[step]["first"][row, 0], state.vectors["generator"][:3], rtol=1e-5)
                assert by_step[step]["t"][row, 0] == step and by_step[step]["n"][row, 0] == 5
    assert by_step[1]["first"].shape == (2, 1, 3)


def test_steps_are_evaluated_once(tmp_path: Path) -> None:
    """The second call reads the files and does not evaluate."""

    def fail(subject: EvaluationContext) -> dict[str, Any]:
        raise AssertionError

    run = small_run(methods.alternating())
    computed = evaluate_at_steps(run, tmp_path, [2, 4], evaluate, 5, no_progress)
    loaded = evaluate_at_steps(run, tmp_path, [2, 4], fail, 5, no_progress)
    np.testing.assert_array_equal(computed[4]["first"], loaded[4]["first"])
    assert len(train_to_step(run, tmp_path, 4, 4, no_progress).curve("generator", "losses")[0]) == 4


def test_the_global_pair_comes_first(tmp_path: Path) -> None:
    """With SGAN all pairs are evaluated, and the global pair differs from the local ones."""
    by_step = evaluate_at_steps(small_run(methods.sgan(3)), tmp_path, [2], evaluate, 5, no_progress)[2]
    assert by_step["first"].shape == (2, 4, 3)
    assert (np.abs(by_step["first"][:, :1] - by_step["first"][:, 1:]).sum(2) > 0).all()


def test_success_means_half_way_to_the_best_score() -> None:
    best, poor, failed = ({"scores": np.array([[9.0, score], [9.0, 1.0]])} for score in (5.0, 3.0, 2.9))
    assert share_of_successes([best, poor, failed], [best, poor, failed]) == pytest.approx(2 / 6)
    assert share_of_successes([failed], [best]) == 0
    all_failed = {"scores": np.array([[1.0, 1.5], [1.0, 1.6]])}
    assert share_of_successes([all_failed], [all_failed]) == 0


def test_advantage_over_a_regular_pair_and_the_local_mean() -> None:
    results = {
        SGAN: {"score": np.array([[[5.0, 1.0, 3.0]]])},
        REGULAR: {"score": np.array([[[4.5]]])},
    }
    assert global_advantage(results, "score", "local").item() == 3
    assert global_advantage(results, "score", REGULAR).item() == 0.5


def test_noise_decay() -> None:
    assert noise_decay(np.linspace(20, 1, 20)) == pytest.approx(1.5 / 19.5)
    assert noise_decay(np.array([2.0, 4.0])) == 2


def test_metrics_of_image_sets() -> None:
    assert isinstance(image_sets.score_metric("mnist"), ClassifierScore)
    assert isinstance(image_sets.score_metric("cifar10"), InceptionScore)
    assert isinstance(image_sets.distance_metric("digits"), ClassifierFrechetDistance)
    assert isinstance(image_sets.distance_metric("cifar10"), FID)
    assert image_sets.load_image_set("digits").shape == (1, 28, 28)


def test_errors_for_missing_files_name_the_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DETENTE_CACHE", str(tmp_path))
    with pytest.raises(InvalidValue, match="detente data prepare fashion_mnist"):
        image_sets.load_image_set("fashion_mnist")
    monkeypatch.setattr("detente.metrics.features.classifier.cache", lambda: tmp_path)
    with pytest.raises(InvalidValue, match="detente data classifier digits"):
        image_sets.load_image_set("digits")
