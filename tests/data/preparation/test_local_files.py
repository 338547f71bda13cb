"""Every format that is read without the extra [data] gives the same arrays: those of its pixels."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from detente.data.cache import open_set
from detente.data.pictures import pixels
from detente.data.preparation.preparation import prepare
from detente.data.prepared import Prepared
from detente.data.sources import SOURCES
from detente.errors import InvalidValue
from tests.data.preparation.originals import pictures, prepare_set, read_split, write_idx, write_pictures

COLOUR, TEST = pictures(11), pictures(5, seed=1)
GREY, GREY_TEST = pictures(11, channels=1), pictures(5, channels=1, seed=1)
LABELS, TEST_LABELS = np.arange(11) % 3, np.arange(5) % 3


@pytest.mark.parametrize("ending", ["", ".gz"])
def test_idx_files_with_their_labels(tmp_path: Path, ending: str) -> None:
    for word, images, labels in (("train", GREY, LABELS), ("t10k", GREY_TEST, TEST_LABELS)):
        write_idx(tmp_path / "idx" / f"{word}-images-idx3-ubyte{ending}", images)
        write_idx(tmp_path / "idx" / f"{word}-labels-idx1-ubyte{ending}", labels.astype(np.uint8))
    sets = prepare_set("mnist-8", tmp_path / "idx", tmp_path)
    stored, labels = read_split(sets, "mnist-8", "test")
    assert np.array_equal(stored[:, 0], GREY_TEST) and labels == TEST_LABELS.tolist()
    assert Prepared("mnist-8", folder=sets).size == 11 and Prepared("mnist-8", folder=sets).class_names[7] == "7"


@pytest.mark.parametrize("layout", ["channels last", "channels first", "grey"])
def test_npz_files(tmp_path: Path, layout: str) -> None:
    images = {"grey": GREY, "channels last": COLOUR, "channels first": COLOUR.transpose(0, 3, 1, 2)}[layout]
    np.savez(tmp_path / "set.npz", x_train=images, y_train=LABELS[:, None], x_test=images[:2], y_test=LABELS[:2])
    name = "mnist-8" if layout == "grey" else "cifar10-8"
    sets = prepare_set(name, tmp_path / "set.npz", tmp_path)
    stored, labels = read_split(sets, name, "train")
    expected = GREY[:, None] if layout == "grey" else COLOUR.transpose(0, 3, 1, 2)
    assert np.array_equal(stored, expected) and labels == LABELS.tolist()
    assert Prepared(name, "test", folder=sets).size == 2


def test_npz_files_without_labels(tmp_path: Path) -> None:
    np.savez(tmp_path / "set.npz", images=GREY)
    data = Prepared("mnist-8", folder=prepare_set("mnist-8", tmp_path / "set.npz", tmp_path))
    assert data.class_count is None and set(data.draw(3, torch.Generator())) == {"real"}


def test_image_folders_with_splits_and_classes(tmp_path: Path) -> None:
    for split, name, images in (("train", "cat", COLOUR[:4]), ("train", "dog", COLOUR[4:]), ("val", "dog", TEST)):
        write_pictures(tmp_path / "in" / split / name, images)
    sets = prepare_set("imagenet-8", tmp_path / "in", tmp_path)
    stored, labels = read_split(sets, "imagenet-8", "train")
    assert np.array_equal(stored, COLOUR.transpose(0, 3, 1, 2)) and labels == [0] * 4 + [1] * 7
    assert read_split(sets, "imagenet-8", "validation")[1] == [1] * 5
    assert Prepared("imagenet-8", folder=sets).class_names == ("cat", "dog")
    sets = prepare_set("imagenet-8", tmp_path / "in" / "train", tmp_path)
    assert read_split(sets, "imagenet-8", None)[1] == [0] * 4 + [1] * 7


def test_celeba_is_cropped_to_160_and_resized(tmp_path: Path) -> None:
    face = np.zeros((218, 178, 3), np.uint8)
    face[29:189, 9:169] = 200  # the middle 160 × 160 pixels, and nothing else
    face[60:70, 20:40] = 7
    Path(tmp_path / "faces").mkdir()
    Image.fromarray(face).save(tmp_path / "faces" / "1.png")
    stored, labels = read_split(prepare_set("celeba", tmp_path / "faces", tmp_path), "celeba", "train")
    middle = Image.fromarray(face[29:189, 9:169]).resize((64, 64), Image.Resampling.BICUBIC)
    assert np.array_equal(stored[0], np.asarray(middle).transpose(2, 0, 1)) and labels is None
    assert stored[0, :, 0].min() == 200 and stored[0, :, :, -1].min() == 200
    assert SOURCES["celeba"].crop == 160 and SOURCES["celeba"].size == 64


def test_a_crop_larger_than_the_image_takes_the_largest_square() -> None:
    image = Image.fromarray(pictures(1, 8)[0][:, :6])
    assert np.array_equal(pixels(image, 3, 6, 160), np.asarray(image)[1:7])


def test_text_files(tmp_path: Path) -> None:
    lines = ["the first", "a line that is far longer than what is stored", "ünïcode", ""]
    (tmp_path / "news.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")
    sets = prepare_set("one_billion_word-16", tmp_path / "news.txt", tmp_path)
    opened = open_set("one_billion_word-16", "text", sets)
    assert opened.samples.shape == (4, 16) and opened.labels is None
    stored = ["".join(opened.about["vocabulary"][number] for number in line) for line in opened.samples]
    assert stored == [line[:16].ljust(16, "`") for line in lines]


@pytest.mark.parametrize(
    ("file", "content", "message"),
    [
        ("nowhere", None, "exists"),
        ("train-images-idx3-ubyte", b"\0\0\x08\x03\0\0\0\x02", "complete IDX"),
        ("train-images-idx3-ubyte.gz", b"\x1f\x8b nothing", "complete IDX"),
        ("x.npz", b"PK nothing", "readable NPZ"),
        ("x.tar", b"", "Parquet files, IDX files"),
        ("x.png", b"no image", "--skip-broken"),
    ],
)
def test_unreadable_files_are_named(tmp_path: Path, file: str, content: bytes | None, message: str) -> None:
    if content is not None:
        (tmp_path / file).write_bytes(content)
    with pytest.raises(InvalidValue, match=f"(?s)source.*{file}.*{message}"):
        list(prepare("mnist", tmp_path / file, folder=tmp_path / "sets"))
    assert not (tmp_path / "sets" / "mnist").exists()


def test_arrays_that_do_not_fit_are_refused(tmp_path: Path) -> None:
    np.savez(tmp_path / "float.npz", images=GREY / 255)
    np.savez(tmp_path / "labels.npz", images=GREY, labels=LABELS[:3])
    np.savez(tmp_path / "names.npz", pictures=GREY, more=GREY)
    for file, message in (("float", "uint8"), ("labels", "one for each"), ("names", "x_train")):
        with pytest.raises(InvalidValue, match=message):
            list(prepare("mnist", tmp_path / f"{file}.npz", folder=tmp_path))


def test_folders_of_splits_and_other_folders_are_refused(tmp_path: Path) -> None:
    for name in ("train", "test", "more"):
        write_pictures(tmp_path / "set" / name, GREY[:2])
    with pytest.raises(InvalidValue, match="test, train look like splits, more do not"):
        prepare_set("fashion_mnist-8", tmp_path / "set", tmp_path)


def test_idx_files_that_are_there_packed_and_unpacked_are_read_once(tmp_path: Path) -> None:
    for ending in ("", ".gz"):
        write_idx(tmp_path / "raw" / f"train-images-idx3-ubyte{ending}", GREY)
        write_idx(tmp_path / "raw" / f"train-labels-idx1-ubyte{ending}", LABELS.astype(np.uint8))
    sets = prepare_set("fashion_mnist-8", tmp_path / "raw", tmp_path)
    assert read_split(sets, "fashion_mnist-8", None)[1] == LABELS.tolist()


def test_links_to_folders_are_followed(tmp_path: Path) -> None:
    for name in ("a", "b"):
        write_pictures(tmp_path / "disk" / name, GREY[:2])
    (tmp_path / "set").mkdir()
    (tmp_path / "set" / "a").symlink_to(tmp_path / "disk" / "a")
    (tmp_path / "set" / "b").symlink_to(tmp_path / "disk" / "b")
    sets = prepare_set("fashion_mnist-8", tmp_path / "set", tmp_path)
    assert read_split(sets, "fashion_mnist-8", "train")[1] == [0, 0, 1, 1]


def test_errors_without_the_library_name_the_package_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "datasets", None)
    (tmp_path / "x.parquet").write_bytes(b"")
    with pytest.raises(InvalidValue, match=r"x\.parquet.*image folders, IDX.*pip install 'detente\[data\]'"):
        list(prepare("cifar10", tmp_path / "x.parquet", folder=tmp_path / "sets"))
    with pytest.raises(InvalidValue, match=r"--source PATH.*pip install 'detente\[data\]'"):
        list(prepare("cifar10", folder=tmp_path / "sets"))
    assert not (tmp_path / "sets").exists()
