"""Stacked MNIST: three digits, a thousand modes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from detente.data.digits import Digits
from detente.data.preparation.preparation import prepare
from detente.data.stacked_mnist import StackedMnist
from detente.errors import InvalidValue
from tests.data.preparation.originals import pictures


def test_channels_are_digits_and_the_label_combines_them() -> None:
    data = StackedMnist()
    batch = data.draw(7, torch.Generator().manual_seed(0))
    assert batch["real"].shape == (7, 3, 28, 28) and data.class_count == 1000 and data.size is None
    digits = Digits().take(torch.arange(5000))
    for image, label in zip(batch["real"], batch["label"].tolist(), strict=True):
        places = [int((digits["real"] == channel).flatten(1).all(1).nonzero()[0]) for channel in image]
        red, green, blue = digits["label"][places].tolist()
        assert label == 100 * red + 10 * green + blue


def test_modes_are_uniform() -> None:
    labels = StackedMnist(resolution=4).draw(100_000, torch.Generator().manual_seed(0))["label"]
    counts = torch.bincount(labels, minlength=1000).double()
    chi_squared = float(((counts - 100) ** 2 / 100).sum())
    assert len(counts) == 1000 and abs(chi_squared - 999) < 5 * (2 * 999) ** 0.5


def test_prepared_digits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DETENTE_CACHE", str(tmp_path))
    np.savez(tmp_path / "x.npz", images=pictures(20, 8, 1), labels=np.arange(20) % 10)
    assert list(prepare("mnist-8", tmp_path / "x.npz"))
    data = StackedMnist("mnist", 8)
    assert data.draw(3, torch.Generator())["real"].shape == (3, 3, 8, 8)
    with pytest.raises(InvalidValue, match="detente data prepare mnist$"):
        StackedMnist("mnist")
    np.savez(tmp_path / "x.npz", images=pictures(20, 8), labels=np.arange(20) % 10)
    assert list(prepare("cifar10-8", tmp_path / "x.npz"))
    with pytest.raises(InvalidValue, match="digits.*grey digits"):
        StackedMnist("cifar10", 8)
