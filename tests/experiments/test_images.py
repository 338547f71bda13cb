"""Functions for experiments on images: grids, balanced subsets, and class statistics during a training."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import pytest
import torch

from detente import methods
from detente.data.arrays import Arrays
from detente.data.digits import Digits
from detente.errors import InvalidValue
from detente.experiments.accept_reject.zero_one_digits import _both_present, _count_losses
from detente.experiments.support.class_statistics import class_evaluator, evenly_spaced_steps, train_and_evaluate
from detente.experiments.support.image_games import balanced_subset, dcgan_game
from detente.experiments.support.image_grids import tile_images
from detente.experiments.svrg.svrg_mode_recovery import SvrgModeRecovery
from detente.metrics.context import EvaluationContext
from detente.metrics.features import classifier
from detente.training.run import Run

T = TypeVar("T")


def no_progress(items: Iterable[T], name: str, total: int | None = None) -> Iterator[T]:
    yield from items


def test_a_grid_places_images_in_rows() -> None:
    levels = torch.tensor([-1.0, 0.0, 1.0, math.nan])
    grid = tile_images(levels[:, None, None, None].expand(4, 1, 2, 3), 2, 2)
    assert grid.shape == (5, 7)
    assert grid[0, 0] == 0 and grid[0, 4] == 0.5 and grid[3, 0] == 1 and grid[3, 4] == 1
    assert (grid[2] == 1).all() and (grid[:, 3] == 1).all()  # the white lines
    assert tile_images(torch.zeros(1, 3, 2, 2), 1, 2).shape == (2, 5, 3)


def test_a_balanced_subset_has_the_same_number_of_each_class() -> None:
    subset = balanced_subset(Digits(), 40)
    labels = subset.arrays[1]
    assert labels is not None and (torch.bincount(labels) == 4).all()
    ones_and_sevens = balanced_subset(Digits(), None, (1, 7))
    assert ones_and_sevens.size == 1000 and balanced_subset(Digits()).size == 5000
    torch.testing.assert_close(
        ones_and_sevens.take(torch.tensor([500]))["real"], Digits(classes=(7,)).take(torch.tensor([0]))["real"]
    )
    for count in (39, 6000):
        with pytest.raises(InvalidValue, match="count"):
            balanced_subset(Digits(), count)


class _Images(EvaluationContext):
    """A subject with fixed samples."""

    def __init__(self, images: torch.Tensor) -> None:
        self.game: Any = None  # pyright: ignore[reportIncompatibleVariableOverride]
        self.samples = images  # pyright: ignore[reportIncompatibleMethodOverride]


def test_statistics_of_a_repeated_image_show_a_collapse() -> None:
    images = Digits().take(torch.tensor([0]))["real"].expand(30, -1, -1, -1)
    measurements = class_evaluator("digits", balanced_subset(Digits(), 100))(_Images(images))
    assert sorted(measurements["shares"]) == [0.0] * 9 + [1.0]
    assert measurements["entropy"] == pytest.approx(0) and measurements["score"] == pytest.approx(1)
    assert measurements["variation"] == pytest.approx(0.9) and measurements["distance"] > 0
    assert measurements["images"].shape == (24, 1, 28, 28)


def test_statistics_of_nan_images_are_nan() -> None:
    measurements = class_evaluator("digits")(_Images(torch.full((20, 1, 28, 28), math.nan)))
    assert all(np.isnan(measurements[name]).all() for name in ("shares", "entropy", "score", "variation", "distance"))


def test_gradients_are_counted_in_images(tmp_path: Path) -> None:
    """Each player's loss on a batch of 5 once per step, or on the whole set of 20 for full-batch gradient descent."""
    data, evaluate = balanced_subset(Digits(), 20), class_evaluator("digits")
    for batch, method, gradients_per_step in ((5, methods.alternating(), 10), (5, methods.full_batch(), 40)):
        game = dcgan_game(data, 2, batch, 4, fixed_latents=True)
        run, folder, steps = (
            Run(game, method, seeds=(0, 1)),
            tmp_path / str(gradients_per_step),
            evenly_spaced_steps(3, 2),
        )
        measurements = train_and_evaluate(run, folder, steps, evaluate, 20, no_progress)
        assert measurements["steps"].tolist() == [2, 3]
        assert measurements["gradients"].tolist() == [2 * gradients_per_step, 3 * gradients_per_step]
        assert measurements["shares"].shape == (2, 2, 10) and measurements["shares"].sum(2) == pytest.approx(1)


def test_lost_digits_are_counted_between_evaluations() -> None:
    shares = np.zeros((1, 4, 10))
    shares[0, :, 0] = [0.5, 0.0, 0.5, 0.5]
    shares[0, :, 1] = [0.5, 0.5, 0.5, 0.04]
    assert _both_present({"shares": shares}).tolist() == [[True, False, True, False]]
    assert _count_losses({"shares": shares}).tolist() == [2]


def test_the_second_training_starts_from_the_end_of_the_first(tmp_path: Path) -> None:
    """The networks at the start of the second training are those trained on one digit."""
    from detente.experiments.svrg import svrg_mode_recovery as experiment

    size = {**SvrgModeRecovery.sizes["smoke"], "first": 3}
    start = experiment._train_on_one_digit(Digits(), 1, 0, tmp_path, no_progress, size)
    state = experiment.train_or_resume(
        Run(start, experiment._adam_method(size), 3, (0,), measure_every=3), tmp_path / "1-seed0-first", no_progress
    ).states[0]
    game = experiment._second_game(start, balanced_subset(Digits(), 20), experiment.GD, size)
    vectors, buffers = game.initial(torch.Generator().manual_seed(5))
    torch.testing.assert_close(vectors, state.vectors, rtol=0, atol=0)
    torch.testing.assert_close(buffers, state.buffers, rtol=0, atol=0)
    assert game.size == 20 and game.batch == 20 and isinstance(game.data, Arrays)


def test_a_missing_classifier_error_names_the_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(classifier, "cache", lambda: tmp_path / "nothing")
    experiment = SvrgModeRecovery()
    with pytest.raises(InvalidValue, match="detente data classifier digits"):
        experiment.conduct(tmp_path / "run", no_progress, **experiment.size("smoke"))
    assert not (tmp_path / "run").exists()


def test_per_image_normalisation_separates_the_images_of_a_batch() -> None:
    """SVRG accepts these networks, and rejects the same ones with BatchNorm."""
    data = balanced_subset(Digits(), 20)
    methods.svrg().check(dcgan_game(data, 2, 5, 4, per_image_norm=True, fixed_latents=True))
    with pytest.raises(InvalidValue, match="BatchNorm"):
        methods.svrg().check(dcgan_game(data, 2, 5, 4, fixed_latents=True))
