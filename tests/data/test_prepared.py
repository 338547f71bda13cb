"""Prepared sets: opened by name, memory-mapped, restricted to classes without a copy."""

from __future__ import annotations

import copy
import json
import pickle
from pathlib import Path

import numpy as np
import pytest
import torch

from detente.data.cache import cache
from detente.data.preparation.preparation import prepare
from detente.data.prepared import Prepared, Rows
from detente.data.sources import SOURCES
from detente.errors import InvalidValue
from tests.data.preparation.originals import pictures

IMAGES = pictures(60, 28, 1)
LABELS = np.arange(60) % 10


@pytest.fixture(scope="module")
def sets(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("sets")
    file = folder / "mnist.npz"
    np.savez(file, x_train=IMAGES[:50], y_train=LABELS[:50], x_test=IMAGES[50:], y_test=LABELS[50:])
    assert list(prepare("mnist", file, folder=folder / "sets"))
    return folder / "sets"


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_batches_are_the_pixels_in_minus_one_to_one(sets: Path) -> None:
    data = Prepared("mnist", folder=sets)
    batch = data.take(torch.tensor([3, 49, 3]))
    assert data.shape == (1, 28, 28) and data.size == 50 and data.class_count == 10
    assert torch.equal(((batch["real"][:, 0] + 1) * 127.5).round(), torch.from_numpy(IMAGES[[3, 49, 3]]).float())
    assert batch["label"].tolist() == [3, 9, 3]
    first, again = (data.draw(8, generator()) for _ in range(2))
    assert torch.equal(first["real"], again["real"]) and first["real"].is_contiguous()


def test_splits_are_parts_of_one_array(sets: Path) -> None:
    test, both = Prepared("mnist", "test", folder=sets), Prepared("mnist", None, folder=sets)
    assert test.size == 10 and both.size == 60
    assert torch.equal(test.take(torch.arange(10))["real"], both.take(torch.arange(50, 60))["real"])


def test_classes_are_indexed_without_a_copy(sets: Path) -> None:
    data = Prepared("mnist", classes=(0, 1), folder=sets)
    store, labels = data.arrays
    assert isinstance(store, Rows) and isinstance(store.store, np.memmap)
    assert data.size == 10 and data.class_count == 2 and labels is not None and labels.unique().tolist() == [0, 1]
    selected = IMAGES[:50][np.isin(LABELS[:50], (0, 1))]
    assert np.array_equal(np.asarray(store)[:, 0], selected) and store.shape == (10, 1, 28, 28)
    batch = data.draw(64, generator())
    assert set(batch["label"].tolist()) == {0, 1}
    sample = data.take(torch.tensor([9]))
    assert torch.equal(((sample["real"][0, 0] + 1) * 127.5).round(), torch.from_numpy(selected[9]).float())


@pytest.mark.parametrize("classes", [None, (0, 1)])
def test_a_large_set_is_read_through_its_descriptor_with_the_same_result(
    sets: Path, monkeypatch: pytest.MonkeyPatch, classes: tuple[int, ...] | None
) -> None:
    for split in ("train", "test", None):
        mapped = Prepared("mnist", split, classes, folder=sets)
        expected, images = mapped.draw(20, generator()), np.asarray(mapped.arrays[0])
        with monkeypatch.context() as patch:
            patch.setattr("detente.data.prepared.IN_MEMORY_BYTES", 0)
            read = Prepared("mnist", split, classes, folder=sets)
            store, _ = read.arrays
        assert isinstance(store, Rows) and store.descriptor is not None
        torch.testing.assert_close(read.draw(20, generator()), expected, rtol=0, atol=0)
        assert np.array_equal(np.asarray(store), images) and np.array_equal(store[1], images[1])


def test_a_file_cut_after_opening_is_an_error(sets: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("detente.data.prepared.IN_MEMORY_BYTES", 0)
    store, _ = Prepared("mnist", "train", folder=sets).arrays
    monkeypatch.setattr("os.preadv", lambda *args: 3)
    with pytest.raises(OSError, match=r"images\.npy ends before row 2"):
        _ = store[np.array([2])]


def test_copies_hold_no_pixels(sets: Path) -> None:
    data = Prepared("mnist", classes=(0, 1), folder=sets)
    assert data == Prepared("mnist", classes=(0, 1), folder=sets)
    _ = data.arrays
    assert len(pickle.dumps(data)) < 1000
    for other in (copy.deepcopy(data), pickle.loads(pickle.dumps(data))):
        assert other == data and torch.equal(other.draw(5, generator())["real"], data.draw(5, generator())["real"])


def test_a_set_that_is_not_prepared_names_the_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DETENTE_CACHE", str(tmp_path))
    with pytest.raises(InvalidValue, match=r"name: got 'celeba-32'; .*Run once: detente data prepare celeba-32$"):
        Prepared("celeba-32")
    with pytest.raises(InvalidValue, match="Did you mean 'fashion_mnist'"):
        Prepared("fashion-mnist")
    monkeypatch.delenv("DETENTE_CACHE")
    monkeypatch.setattr(Path, "home", lambda: tmp_path)
    assert cache() == tmp_path / ".cache" / "detente"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"split": "valid"}, "split.*test, train"),
        ({"classes": ()}, "classes.*0 … 9"),
        ({"classes": (0, 10)}, "classes.*0 … 9"),
        ({"classes": (1, 1)}, "classes.*different"),
        ({"classes": (-1,)}, "classes"),
    ],
)
def test_invalid_arguments_are_refused(sets: Path, options: dict, message: str) -> None:
    with pytest.raises(InvalidValue, match=message):
        Prepared("mnist", folder=sets, **options)


def test_classes_need_labels(tmp_path: Path) -> None:
    np.savez(tmp_path / "x.npz", images=IMAGES)
    assert list(prepare("mnist", tmp_path / "x.npz", folder=tmp_path))
    with pytest.raises(InvalidValue, match="classes.*no labels"):
        Prepared("mnist", classes=(0,), folder=tmp_path)


@pytest.mark.parametrize("damage", ["missing", "cut", "about", "shape"])
def test_a_damaged_set_names_the_command(sets: Path, tmp_path: Path, damage: str) -> None:
    directory = tmp_path / "mnist"
    directory.mkdir()
    for file in (sets / "mnist").iterdir():
        (directory / file.name).write_bytes(file.read_bytes())
    if damage == "missing":
        (directory / "images.npy").unlink()
    elif damage == "cut":
        (directory / "images.npy").write_bytes((directory / "images.npy").read_bytes()[:1000])
    elif damage == "about":
        (directory / "about.json").write_text("{")
    else:
        about = json.loads((directory / "about.json").read_text())
        (directory / "about.json").write_text(json.dumps({**about, "shape": [61, 1, 28, 28]}))
    with pytest.raises(InvalidValue, match="Run again: detente data prepare mnist"):
        Prepared("mnist", folder=tmp_path)


def test_a_set_of_ten_gigabytes_is_not_held_in_memory(tmp_path: Path) -> None:
    count = 870_000
    shape = (count, 3, 64, 64)
    directory = tmp_path / "celeba"
    directory.mkdir()
    store = np.lib.format.open_memmap(directory / "images.npy", "w+", np.uint8, shape)  # sparse: it takes no space
    store[::100_000] = 255
    del store
    about = {"kind": "images", "shape": shape, "labelled": False, "splits": {"train": [0, count]}, "classes": []}
    (directory / "about.json").write_text(json.dumps(about))
    data, draws = Prepared("celeba", folder=tmp_path), generator()
    before = resident()
    for _ in range(200):
        assert data.draw(64, draws)["real"].shape == (64, 3, 64, 64)
    assert resident() - before < 50e6 and (directory / "images.npy").stat().st_size > 10e9
    assert data.take(torch.tensor([100_000, 100_001]))["real"].mean((1, 2, 3)).tolist() == [1, -1]


def resident() -> int:
    """Return the resident memory of this process in bytes."""
    pages = Path("/proc/self/statm").read_text().split()[1]
    return int(pages) * 4096


FASHION = SOURCES["fashion_mnist"].installed
assert FASHION is not None


@pytest.mark.skipif(not FASHION[0].is_dir(), reason=f"Debian's {FASHION[1]} is not installed: apt-get install it")
def test_fashion_mnist_is_read_from_its_debian_package(tmp_path: Path) -> None:
    assert list(prepare("fashion_mnist", folder=tmp_path))[-1].done == 70_000
    train, test = Prepared("fashion_mnist", folder=tmp_path), Prepared("fashion_mnist", "test", folder=tmp_path)
    assert train.labels is not None and torch.bincount(train.labels).tolist() == [6000] * 10
    assert test.labels is not None and torch.bincount(test.labels).tolist() == [1000] * 10
    # Its authors state the mean and standard deviation of the pixels: 0.2860 and 0.3530.
    pixels = np.asarray(train.arrays[0], np.float32) / 255
    assert pixels.mean() == pytest.approx(0.2860, abs=5e-5) and pixels.std() == pytest.approx(0.3530, abs=5e-5)
    assert train.class_names[9] == "Boot" and train.shape == (1, 28, 28)
