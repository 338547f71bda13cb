"""Every form that a set can come in gives the same arrays: those of its pixels."""

from __future__ import annotations

import sys
import types
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from PIL import Image
from tests.data.preparation.originals import (
    NAMES,
    pictures,
    png,
    write_idx,
    write_parquet,
    write_pictures,
    write_text_parquet,
)

from detente.data.cache import open_set
from detente.data.pictures import pixels
from detente.data.preparation.preparation import prepare
from detente.data.prepared import Prepared
from detente.data.sources import SOURCES
from detente.errors import InvalidValue

COLOUR, TEST = pictures(11), pictures(5, seed=1)
GREY, GREY_TEST = pictures(11, channels=1), pictures(5, channels=1, seed=1)
LABELS, TEST_LABELS = np.arange(11) % 3, np.arange(5) % 3


def made(name: str, source: Path, tmp_path: Path, **options) -> Path:
    assert list(prepare(name, source, folder=tmp_path / "sets", **options))
    return tmp_path / "sets"


def whole(sets: Path, name: str, split: str | None) -> tuple[np.ndarray, list[int] | None]:
    data = Prepared(name, split, folder=sets)
    return np.asarray(data.arrays[0]), None if data.labels is None else data.labels.tolist()


def test_parquet_of_the_hub_in_two_files_and_two_splits(tmp_path: Path) -> None:
    at = tmp_path / "hub" / "plain_text"
    write_parquet(at / "train-00000-of-00002.parquet", [png(one) for one in COLOUR[:6]], LABELS[:6].tolist())
    write_parquet(at / "train-00001-of-00002.parquet", [png(one) for one in COLOUR[6:]], LABELS[6:].tolist())
    write_parquet(at / "test-00000-of-00001.parquet", [png(one) for one in TEST], TEST_LABELS.tolist())
    sets = made("cifar10-8", tmp_path / "hub", tmp_path)
    stored, labels = whole(sets, "cifar10-8", "train")
    assert np.array_equal(stored, COLOUR.transpose(0, 3, 1, 2)) and labels == LABELS.tolist()
    stored, labels = whole(sets, "cifar10-8", "test")
    assert np.array_equal(stored, TEST.transpose(0, 3, 1, 2)) and labels == TEST_LABELS.tolist()
    assert Prepared("cifar10-8", None, folder=sets).size == 16
    assert Prepared("cifar10-8", folder=sets).class_names == NAMES


@pytest.mark.parametrize("ending", ["", ".gz"])
def test_idx_files_with_their_labels(tmp_path: Path, ending: str) -> None:
    for word, images, labels in (("train", GREY, LABELS), ("t10k", GREY_TEST, TEST_LABELS)):
        write_idx(tmp_path / "idx" / f"{word}-images-idx3-ubyte{ending}", images)
        write_idx(tmp_path / "idx" / f"{word}-labels-idx1-ubyte{ending}", labels.astype(np.uint8))
    sets = made("mnist-8", tmp_path / "idx", tmp_path)
    stored, labels = whole(sets, "mnist-8", "test")
    assert np.array_equal(stored[:, 0], GREY_TEST) and labels == TEST_LABELS.tolist()
    assert Prepared("mnist-8", folder=sets).size == 11 and Prepared("mnist-8", folder=sets).class_names[7] == "7"


@pytest.mark.parametrize("layout", ["channels last", "channels first", "grey"])
def test_npz_files(tmp_path: Path, layout: str) -> None:
    images = {"grey": GREY, "channels last": COLOUR, "channels first": COLOUR.transpose(0, 3, 1, 2)}[layout]
    np.savez(tmp_path / "set.npz", x_train=images, y_train=LABELS[:, None], x_test=images[:2], y_test=LABELS[:2])
    name = "mnist-8" if layout == "grey" else "cifar10-8"
    sets = made(name, tmp_path / "set.npz", tmp_path)
    stored, labels = whole(sets, name, "train")
    expected = GREY[:, None] if layout == "grey" else COLOUR.transpose(0, 3, 1, 2)
    assert np.array_equal(stored, expected) and labels == LABELS.tolist()
    assert Prepared(name, "test", folder=sets).size == 2


def test_npz_of_images_alone(tmp_path: Path) -> None:
    np.savez(tmp_path / "set.npz", images=GREY)
    data = Prepared("mnist-8", folder=made("mnist-8", tmp_path / "set.npz", tmp_path))
    assert data.class_count is None and set(data.draw(3, torch.Generator())) == {"real"}


def test_image_folders_with_splits_and_classes(tmp_path: Path) -> None:
    for split, name, images in (("train", "cat", COLOUR[:4]), ("train", "dog", COLOUR[4:]), ("val", "dog", TEST)):
        write_pictures(tmp_path / "in" / split / name, images)
    sets = made("imagenet-8", tmp_path / "in", tmp_path)
    stored, labels = whole(sets, "imagenet-8", "train")
    assert np.array_equal(stored, COLOUR.transpose(0, 3, 1, 2)) and labels == [0] * 4 + [1] * 7
    assert whole(sets, "imagenet-8", "validation")[1] == [1] * 5
    assert Prepared("imagenet-8", folder=sets).class_names == ("cat", "dog")
    sets = made("imagenet-8", tmp_path / "in" / "train", tmp_path)
    assert whole(sets, "imagenet-8", None)[1] == [0] * 4 + [1] * 7


def test_celeba_is_cropped_to_160_and_resized(tmp_path: Path) -> None:
    face = np.zeros((218, 178, 3), np.uint8)
    face[29:189, 9:169] = 200  # the middle 160 × 160 pixels, and nothing else
    face[60:70, 20:40] = 7
    Path(tmp_path / "faces").mkdir()
    Image.fromarray(face).save(tmp_path / "faces" / "1.png")
    stored, labels = whole(made("celeba", tmp_path / "faces", tmp_path), "celeba", "train")
    middle = Image.fromarray(face[29:189, 9:169]).resize((64, 64), Image.Resampling.BICUBIC)
    assert np.array_equal(stored[0], np.asarray(middle).transpose(2, 0, 1)) and labels is None
    assert stored[0, :, 0].min() == 200 and stored[0, :, :, -1].min() == 200
    assert SOURCES["celeba"].crop == 160 and SOURCES["celeba"].size == 64


def test_a_crop_larger_than_the_image_takes_the_largest_square() -> None:
    image = Image.fromarray(pictures(1, 8)[0][:, :6])
    assert np.array_equal(pixels(image, 3, 6, 160), np.asarray(image)[1:7])


def test_text_of_the_hub_and_of_files(tmp_path: Path) -> None:
    lines = ["the first", "a line that is far longer than what is stored", "ünïcode", ""]
    write_text_parquet(tmp_path / "a" / "train-00000-of-00001.parquet", lines)
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "news.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")
    stored = []
    for form in ("a", "b"):
        sets = made("one_billion_word-16", tmp_path / form, tmp_path)
        opened = open_set("one_billion_word-16", "text", sets)
        stored.append(np.asarray(opened.samples))
        assert opened.samples.shape == (4, 16) and opened.labels is None
        words = ["".join(opened.about["vocabulary"][number] for number in line) for line in opened.samples]
        assert words == [line[:16].ljust(16, "`") for line in lines]
    assert np.array_equal(*stored)


def test_columns_that_are_missing_are_named(tmp_path: Path) -> None:
    write_parquet(tmp_path / "x.parquet", [png(COLOUR[0])], [0], column="picture")
    with pytest.raises(InvalidValue, match=r"x\.parquet with columns picture, label.*'img'"):
        list(prepare("cifar10", tmp_path / "x.parquet", folder=tmp_path))


@pytest.mark.parametrize(
    ("file", "content", "told"),
    [
        ("nowhere", None, "exists"),
        ("x.parquet", b"PAR1 nothing", "readable Parquet"),
        ("train-images-idx3-ubyte", b"\0\0\x08\x03\0\0\0\x02", "whole IDX"),
        ("train-images-idx3-ubyte.gz", b"\x1f\x8b nothing", "whole IDX"),
        ("x.npz", b"PK nothing", "readable NPZ"),
        ("x.tar", b"", "Parquet files, IDX files"),
        ("x.png", b"no image", "--skip-broken"),
    ],
)
def test_what_cannot_be_read_is_named(tmp_path: Path, file: str, content: bytes | None, told: str) -> None:
    if content is not None:
        (tmp_path / file).write_bytes(content)
    with pytest.raises(InvalidValue, match=f"(?s)source.*{file}.*{told}"):
        list(prepare("mnist", tmp_path / file, folder=tmp_path / "sets"))
    assert not (tmp_path / "sets" / "mnist").exists()


def test_arrays_that_do_not_fit_are_refused(tmp_path: Path) -> None:
    np.savez(tmp_path / "float.npz", images=GREY / 255)
    np.savez(tmp_path / "labels.npz", images=GREY, labels=LABELS[:3])
    np.savez(tmp_path / "names.npz", pictures=GREY, more=GREY)
    for file, told in (("float", "uint8"), ("labels", "one for each"), ("names", "x_train")):
        with pytest.raises(InvalidValue, match=told):
            list(prepare("mnist", tmp_path / f"{file}.npz", folder=tmp_path))


class Loaded:
    """What `datasets` returns for a split, as far as it is used."""

    def __init__(self, rows: list[dict]) -> None:
        self.rows, self.num_rows, self.column_names = rows, len(rows), list(rows[0])
        self.features = {"label": types.SimpleNamespace(names=list(NAMES))}
        self.info = types.SimpleNamespace(version="0.0.0")
        self.encoded = False

    def select_columns(self, names: list[str]) -> Loaded:
        return Loaded([{name: row[name] for name in names} for row in self.rows])

    def cast_column(self, name: str, feature: dict) -> Loaded:
        assert feature == {"decode": False}
        self.encoded = True
        return self

    def select(self, numbers: range) -> Loaded:
        assert self.encoded, "images would be decoded twice"
        return Loaded([self.rows[number] for number in numbers])

    def iter(self, batch_size: int):
        yield {name: [row[name] for row in self.rows] for name in self.column_names}


def test_the_hub_is_asked_for_its_own_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def load_dataset(name: str, configuration: str | None, split: str) -> Loaded:
        asked.append((name, configuration, split))
        images, labels = (COLOUR, LABELS) if split == "train" else (TEST, TEST_LABELS)
        return Loaded(
            [
                {"img": {"bytes": png(image), "path": None}, "label": int(label), "more": 0}
                for image, label in zip(images, labels, strict=True)
            ]
        )

    hub = types.SimpleNamespace(load_dataset=load_dataset, Image=lambda decode: {"decode": decode})
    monkeypatch.setitem(sys.modules, "datasets", hub)
    assert list(prepare("cifar10-8", folder=tmp_path))
    assert asked == [("uoft-cs/cifar10", None, "train"), ("uoft-cs/cifar10", None, "test")]
    stored, labels = whole(tmp_path, "cifar10-8", None)
    assert np.array_equal(stored, np.concatenate([COLOUR, TEST]).transpose(0, 3, 1, 2))
    assert labels == [*LABELS.tolist(), *TEST_LABELS.tolist()]


def test_a_hub_out_of_reach_is_one_line_that_says_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def load_dataset(*_: object, **__: object) -> None:
        raise ConnectionError("no route")

    monkeypatch.setitem(sys.modules, "datasets", types.SimpleNamespace(load_dataset=load_dataset))
    with pytest.raises(InvalidValue, match=r"uoft-cs/cifar10.*--source PATH.*ConnectionError: no route"):
        list(prepare("cifar10", folder=tmp_path))
    monkeypatch.setitem(sys.modules, "datasets", None)
    with pytest.raises(InvalidValue, match=r"--source PATH.*pip install 'detente\[data\]'"):
        list(prepare("cifar10", folder=tmp_path))
    assert list(tmp_path.iterdir()) == []


def test_parquet_without_pyarrow_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "x.parquet").write_bytes(b"")
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(InvalidValue, match=r"pip install 'detente\[data\]'"):
        list(prepare("cifar10", tmp_path, folder=tmp_path))


def write_labelled(path: Path, images: np.ndarray, labels: list) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    cells = [{"bytes": png(pixels), "path": None} for pixels in images]
    pq.write_table(pa.table({"image": cells, "label": labels}), path)


def test_labels_of_text_are_numbered_alike_in_all_files(tmp_path: Path) -> None:
    write_labelled(tmp_path / "set" / "train-0.parquet", GREY[:3], ["dog", "ant", "dog"])
    write_labelled(tmp_path / "set" / "train-1.parquet", GREY[3:5], ["cow", "dog"])
    sets = made("fashion_mnist-8", tmp_path / "set", tmp_path)
    assert whole(sets, "fashion_mnist-8", "train")[1] == [2, 0, 2, 1, 2]
    assert Prepared("fashion_mnist-8", folder=sets).class_names == ("ant", "cow", "dog")


def test_labels_that_are_no_classes_are_named(tmp_path: Path) -> None:
    write_labelled(tmp_path / "half" / "train.parquet", GREY[:2], [0.0, 1.5])
    with pytest.raises(InvalidValue, match=r"train\.parquet row 1 with label 1\.5"):
        made("fashion_mnist-8", tmp_path / "half", tmp_path)
    write_labelled(tmp_path / "lists" / "train.parquet", GREY[:2], [[0], [1]])
    with pytest.raises(InvalidValue, match=r"train\.parquet, column 'label' of list"):
        made("fashion_mnist-8", tmp_path / "lists", tmp_path)


def test_samples_without_a_label_are_left_out_and_counted(tmp_path: Path) -> None:
    write_labelled(tmp_path / "set" / "train.parquet", GREY[:4], [1, None, 0, 1])
    data = Prepared("fashion_mnist-8", folder=made("fashion_mnist-8", tmp_path / "set", tmp_path))
    with pytest.warns(UserWarning, match="1 of 4 samples have no label"):
        stored, labels = data.arrays
    assert labels is not None and labels.tolist() == [1, 0, 1]
    assert np.array_equal(np.asarray(stored)[:, 0], GREY[[0, 2, 3]])


@pytest.mark.parametrize("name", ["val", "valid", "dev", "Validation"])
def test_a_validation_split_stays_apart(tmp_path: Path, name: str) -> None:
    write_labelled(tmp_path / "parquet" / "data" / "train-0.parquet", GREY, LABELS.tolist())
    write_labelled(tmp_path / "parquet" / "data" / f"{name}-0.parquet", GREY_TEST, TEST_LABELS.tolist())
    for split, images in (("train", GREY), (name, GREY_TEST)):
        for number in (0, 1):
            write_pictures(tmp_path / "folders" / split / "ab"[number], images[number : number + 2])
    for form, sizes in (("parquet", (11, 5)), ("folders", (4, 4))):
        sets = made("fashion_mnist-8", tmp_path / form, tmp_path / form)
        assert Prepared("fashion_mnist-8", folder=sets).size == sizes[0]
        assert Prepared("fashion_mnist-8", "validation", folder=sets).size == sizes[1]
    assert Prepared("fashion_mnist-8", "validation", folder=sets).class_names == ("a", "b")


def test_folders_of_which_only_some_are_splits_are_refused(tmp_path: Path) -> None:
    for name in ("train", "test", "more"):
        write_pictures(tmp_path / "set" / name, GREY[:2])
    with pytest.raises(InvalidValue, match="test, train look like splits, more do not"):
        made("fashion_mnist-8", tmp_path / "set", tmp_path)


def test_idx_files_that_lie_there_packed_and_unpacked_are_read_once(tmp_path: Path) -> None:
    for ending in ("", ".gz"):
        write_idx(tmp_path / "raw" / f"train-images-idx3-ubyte{ending}", GREY)
        write_idx(tmp_path / "raw" / f"train-labels-idx1-ubyte{ending}", LABELS.astype(np.uint8))
    sets = made("fashion_mnist-8", tmp_path / "raw", tmp_path)
    assert whole(sets, "fashion_mnist-8", None)[1] == LABELS.tolist()


def test_links_to_folders_are_followed(tmp_path: Path) -> None:
    for name in ("a", "b"):
        write_pictures(tmp_path / "disk" / name, GREY[:2])
    (tmp_path / "set").mkdir()
    (tmp_path / "set" / "a").symlink_to(tmp_path / "disk" / "a")
    (tmp_path / "set" / "b").symlink_to(tmp_path / "disk" / "b")
    sets = made("fashion_mnist-8", tmp_path / "set", tmp_path)
    assert whole(sets, "fashion_mnist-8", "train")[1] == [0, 0, 1, 1]
