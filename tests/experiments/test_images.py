"""What the experiments on images share: grids, parts of sets, and what the classifier sees along a training."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TypeVar

import numpy as np
import pytest
import torch

from detente import methods
from detente.data.arrays import Arrays
from detente.data.digits import Digits
from detente.errors import InvalidValue
from detente.experiments.accept_reject.zero_one_digits import _both, _forgotten
from detente.experiments.support.class_statistics import followed, spaced, statistics
from detente.experiments.support.image_games import dcgan, some
from detente.experiments.support.image_grids import tiled
from detente.experiments.svrg.svrg_mode_recovery import SvrgModeRecovery
from detente.metrics.context import EvaluationContext
from detente.metrics.features import classifier
from detente.training.run import Run

T = TypeVar("T")


def silent(items: Iterable[T], name: str, total: int | None = None) -> Iterator[T]:
    yield from items


def test_a_grid_puts_images_in_rows() -> None:
    levels = torch.tensor([-1.0, 0.0, 1.0, math.nan])
    whole = tiled(levels[:, None, None, None].expand(4, 1, 2, 3), 2, 2)
    assert whole.shape == (5, 7)
    assert whole[0, 0] == 0 and whole[0, 4] == 0.5 and whole[3, 0] == 1 and whole[3, 4] == 1
    assert (whole[2] == 1).all() and (whole[:, 3] == 1).all()  # lines between them
    assert tiled(torch.zeros(1, 3, 2, 2), 1, 2).shape == (2, 5, 3)


def test_part_of_a_set_has_as_many_of_each_class() -> None:
    part = some(Digits(), 40)
    labels = part.arrays[1]
    assert labels is not None and (torch.bincount(labels) == 4).all()
    both = some(Digits(), None, (1, 7))
    assert both.size == 1000 and some(Digits()).size == 5000
    torch.testing.assert_close(
        both.take(torch.tensor([500]))["real"], Digits(classes=(7,)).take(torch.tensor([0]))["real"]
    )
    for count in (39, 6000):
        with pytest.raises(InvalidValue, match="count"):
            some(Digits(), count)


class _Images(EvaluationContext):
    """A subject whose samples are given."""

    def __init__(self, images: torch.Tensor) -> None:
        self.samples = images  # pyright: ignore[reportIncompatibleMethodOverride]


def test_statistics_of_one_image_repeated_are_those_of_a_collapse() -> None:
    image = Digits().take(torch.tensor([0]))["real"].expand(30, -1, -1, -1)
    found = statistics("digits", some(Digits(), 100))(_Images(image))
    assert sorted(found["shares"]) == [0.0] * 9 + [1.0]
    assert found["entropy"] == pytest.approx(0) and found["score"] == pytest.approx(1)
    assert found["variation"] == pytest.approx(0.9) and found["distance"] > 0
    assert found["images"].shape == (24, 1, 28, 28)


def test_statistics_of_nothing_are_no_numbers() -> None:
    found = statistics("digits")(_Images(torch.full((20, 1, 28, 28), math.nan)))
    assert all(np.isnan(found[name]).all() for name in ("shares", "entropy", "score", "variation", "distance"))


def test_gradients_are_counted_in_images(tmp_path: Path) -> None:
    """Every player's loss on a batch of 5, once a step; the whole set of 20 for full-batch gradient descent."""
    data, look = some(Digits(), 20), statistics("digits")
    for batch, method, cost in ((5, methods.alternating(), 10), (5, methods.full_batch(), 40)):
        game = dcgan(data, 2, batch, 4, fixed_latents=True)
        found = followed(Run(game, method, seeds=(0, 1)), tmp_path / str(cost), spaced(3, 2), look, 20, silent)
        assert found["steps"].tolist() == [2, 3] and found["gradients"].tolist() == [2 * cost, 3 * cost]
        assert found["shares"].shape == (2, 2, 10) and found["shares"].sum(2) == pytest.approx(1)


def test_forgetting_is_counted_from_look_to_look() -> None:
    shares = np.zeros((1, 4, 10))
    shares[0, :, 0] = [0.5, 0.0, 0.5, 0.5]
    shares[0, :, 1] = [0.5, 0.5, 0.5, 0.04]
    assert _both({"shares": shares}).tolist() == [[True, False, True, False]]
    assert _forgotten({"shares": shares}).tolist() == [2]


def test_the_second_training_begins_where_the_first_ended(tmp_path: Path) -> None:
    """A generator that made one digit only makes the same images at the start of the second training."""
    from detente.experiments.svrg import svrg_mode_recovery as experiment

    size = {**SvrgModeRecovery.sizes["smoke"], "first": 3}
    start = experiment._collapsed(Digits(), 1, 0, tmp_path, silent, size)
    kept = experiment.trained(
        Run(start, experiment._adam(size), 3, (0,), measure_every=3), tmp_path / "1-seed0-first", silent
    ).states[0]
    game = experiment._from(start, some(Digits(), 20), experiment.GD, size)
    vectors, buffers = game.initial(torch.Generator().manual_seed(5))
    torch.testing.assert_close(vectors, kept.vectors, rtol=0, atol=0)
    torch.testing.assert_close(buffers, kept.buffers, rtol=0, atol=0)
    assert game.size == 20 and game.batch == 20 and isinstance(game.data, Arrays)


def test_without_a_classifier_it_says_how_to_get_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(classifier, "cache", lambda: tmp_path / "nothing")
    experiment = SvrgModeRecovery()
    with pytest.raises(InvalidValue, match="detente data classifier digits"):
        experiment.conduct(tmp_path / "run", silent, **experiment.size("smoke"))
    assert not (tmp_path / "run").exists()


def test_images_normalised_alone_do_not_change_each_other() -> None:
    """What SVRG needs: it refuses the same networks with BatchNorm."""
    data = some(Digits(), 20)
    methods.svrg().check(dcgan(data, 2, 5, 4, alone=True, fixed_latents=True))
    with pytest.raises(InvalidValue, match="BatchNorm"):
        methods.svrg().check(dcgan(data, 2, 5, 4, fixed_latents=True))
