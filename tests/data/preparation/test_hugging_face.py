"""Parquet files and sets of the hub, read with the `datasets` library."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from detente.data.cache import open_set
from detente.data.preparation.preparation import prepare
from detente.data.prepared import Prepared
from detente.errors import InvalidValue
from tests.data.preparation.originals import (
    CLASS_NAMES,
    image_table,
    pictures,
    png,
    prepare_set,
    read_split,
    write_parquet,
    write_pictures,
)

datasets = pytest.importorskip("datasets", reason="needs the extra [data]")

COLOUR, TEST = pictures(11), pictures(5, seed=1)
GREY, GREY_TEST = pictures(11, channels=1), pictures(5, channels=1, seed=1)
LABELS, TEST_LABELS = np.arange(11) % 3, np.arange(5) % 3


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of saved data sets that replaces the hub: `name/split`."""
    monkeypatch.setattr(
        datasets, "load_dataset", lambda name, configuration, split: datasets.load_from_disk(tmp_path / name / split)
    )
    return tmp_path


def test_parquet_files_of_two_splits(tmp_path: Path) -> None:
    folder = tmp_path / "hub" / "plain_text"
    for name, rows in (("train-00000-of-00002", slice(0, 6)), ("train-00001-of-00002", slice(6, 11))):
        write_parquet(folder / f"{name}.parquet", image_table(COLOUR[rows], LABELS[rows], "img", CLASS_NAMES))
    write_parquet(folder / "test-00000-of-00001.parquet", image_table(TEST, TEST_LABELS, "img", CLASS_NAMES))
    sets = prepare_set("cifar10-8", tmp_path / "hub", tmp_path)
    stored, labels = read_split(sets, "cifar10-8", "train")
    assert np.array_equal(stored, COLOUR.transpose(0, 3, 1, 2)) and labels == LABELS.tolist()
    stored, labels = read_split(sets, "cifar10-8", "test")
    assert np.array_equal(stored, TEST.transpose(0, 3, 1, 2)) and labels == TEST_LABELS.tolist()
    assert Prepared("cifar10-8", None, folder=sets).size == 16
    assert Prepared("cifar10-8", folder=sets).class_names == CLASS_NAMES


def test_images_may_be_plain_bytes(tmp_path: Path) -> None:
    columns = {"image": [png(image) for image in GREY], "label": LABELS.tolist()}
    write_parquet(tmp_path / "set" / "train.parquet", datasets.Dataset.from_dict(columns))
    stored, labels = read_split(prepare_set("mnist-8", tmp_path / "set", tmp_path), "mnist-8", "train")
    assert np.array_equal(stored[:, 0], GREY) and labels == LABELS.tolist()


@pytest.mark.parametrize("folder", ["a [1-3] set", "*", "what?", "100%20"])
def test_paths_are_no_patterns(tmp_path: Path, folder: str) -> None:
    write_parquet(tmp_path / folder / "train.parquet", image_table(GREY))
    write_parquet(tmp_path / "a 2 set" / "train.parquet", image_table(GREY_TEST))
    stored, _ = read_split(prepare_set("mnist-8", tmp_path / folder, tmp_path), "mnist-8", "train")
    assert np.array_equal(stored[:, 0], GREY)


def test_text(tmp_path: Path) -> None:
    lines = ["the first", "a line that is far longer than what is stored", "ünïcode", ""]
    write_parquet(tmp_path / "a" / "train-00000-of-00001.parquet", datasets.Dataset.from_dict({"text": lines}))
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "news.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")
    stored = []
    for folder in ("a", "b"):
        sets = prepare_set("one_billion_word-16", tmp_path / folder, tmp_path)
        stored.append(np.asarray(open_set("one_billion_word-16", "text", sets).samples))
    assert np.array_equal(*stored)


def test_missing_columns_are_named(tmp_path: Path) -> None:
    write_parquet(tmp_path / "x.parquet", image_table(COLOUR[:1], [0], "picture"))
    with pytest.raises(InvalidValue, match=r"x\.parquet with columns picture, label.*'img'"):
        list(prepare("cifar10", tmp_path / "x.parquet", folder=tmp_path))


@pytest.mark.parametrize("damage", ["no Parquet", "cut", "overwritten"])
def test_unreadable_files_are_named_once(tmp_path: Path, damage: str, caplog: pytest.LogCaptureFixture) -> None:
    file = tmp_path / "train.parquet"
    write_parquet(file, image_table(pictures(40, 28, 1)))
    content = file.read_bytes()
    middle = len(content) // 4
    file.write_bytes(
        {
            "no Parquet": b"PAR1 nothing",
            "cut": content[: len(content) // 2],
            "overwritten": content[:middle] + b"\xff" * 2000 + content[middle + 2000 :],
        }[damage]
    )
    with pytest.raises(InvalidValue, match=r"train\.parquet'; allowed: a .*read") as error:
        list(prepare("mnist", file, folder=tmp_path / "sets"))
    assert "\n" not in str(error.value) and not caplog.records
    assert not (tmp_path / "sets" / "mnist").exists()


def test_text_labels_are_numbered_in_the_same_way_in_all_files(tmp_path: Path) -> None:
    write_parquet(tmp_path / "set" / "train-0.parquet", image_table(GREY[:3], ["dog", "ant", "dog"]))
    write_parquet(tmp_path / "set" / "train-1.parquet", image_table(GREY[3:5], ["cow", "dog"]))
    sets = prepare_set("fashion_mnist-8", tmp_path / "set", tmp_path)
    assert read_split(sets, "fashion_mnist-8", "train")[1] == [2, 0, 2, 1, 2]
    assert Prepared("fashion_mnist-8", folder=sets).class_names == ("ant", "cow", "dog")


def test_categorical_labels_are_text(tmp_path: Path) -> None:
    import pyarrow
    import pyarrow.parquet

    labels = pyarrow.array(["dog", "ant", "dog"]).dictionary_encode()
    table = pyarrow.table({"image": [{"bytes": png(image), "path": None} for image in GREY[:3]], "label": labels})
    pyarrow.parquet.write_table(table, tmp_path / "train.parquet")
    sets = prepare_set("mnist-8", tmp_path / "train.parquet", tmp_path)
    assert read_split(sets, "mnist-8", "train")[1] == [1, 0, 1]


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        ([0.0, 1.5], r"train\.parquet row 1 with label 1\.5"),
        ([0.0, float("nan")], r"train\.parquet row 1 with label nan"),
        ([0, -2], r"train\.parquet row 1 with label -2"),
        ([[0], [1]], r"train\.parquet, column 'label' of List"),
    ],
)
def test_labels_that_are_no_classes_are_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, labels: list, message: str
) -> None:
    monkeypatch.chdir(tmp_path)
    write_parquet(Path("set/train.parquet"), image_table(GREY[:2], labels))
    with pytest.raises(InvalidValue, match=message):
        prepare_set("fashion_mnist-8", Path("set"), tmp_path)


def test_samples_without_a_label_are_left_out_and_counted(tmp_path: Path) -> None:
    write_parquet(tmp_path / "set" / "train.parquet", image_table(GREY[:4], [1, None, 0, 1]))
    data = Prepared("fashion_mnist-8", folder=prepare_set("fashion_mnist-8", tmp_path / "set", tmp_path))
    with pytest.warns(UserWarning, match="1 of 4 samples have no label"):
        stored, labels = data.arrays
    assert labels is not None and labels.tolist() == [1, 0, 1]
    assert np.array_equal(np.asarray(stored)[:, 0], GREY[[0, 2, 3]])


@pytest.mark.parametrize("name", ["val", "valid", "dev", "Validation"])
def test_a_validation_split_is_kept_apart(tmp_path: Path, name: str) -> None:
    write_parquet(tmp_path / "parquet" / "data" / "train-0.parquet", image_table(GREY, LABELS))
    write_parquet(tmp_path / "parquet" / "data" / f"{name}-0.parquet", image_table(GREY_TEST, TEST_LABELS))
    for split, images in (("train", GREY), (name, GREY_TEST)):
        for number in (0, 1):
            write_pictures(tmp_path / "folders" / split / "ab"[number], images[number : number + 2])
    for folder, sizes in (("parquet", (11, 5)), ("folders", (4, 4))):
        sets = prepare_set("fashion_mnist-8", tmp_path / folder, tmp_path / folder)
        assert Prepared("fashion_mnist-8", folder=sets).size == sizes[0]
        assert Prepared("fashion_mnist-8", "validation", folder=sets).size == sizes[1]
    assert Prepared("fashion_mnist-8", "validation", folder=sets).class_names == ("a", "b")


@pytest.mark.parametrize("labels", ["ClassLabel", "text"])
def test_a_set_of_the_hub(hub: Path, labels: str) -> None:
    for split, images, numbers in (("train", COLOUR, LABELS), ("test", TEST, TEST_LABELS)):
        values = numbers if labels == "ClassLabel" else [CLASS_NAMES[number] for number in numbers]
        table = image_table(images, values, "img", CLASS_NAMES if labels == "ClassLabel" else None)
        table.add_column("other", list(range(len(table)))).save_to_disk(hub / "uoft-cs/cifar10" / split)
    sets = prepare_set("cifar10-8", None, hub)
    for split, images, numbers in (("train", COLOUR, LABELS), ("test", TEST, TEST_LABELS)):
        stored, read_labels = read_split(sets, "cifar10-8", split)
        assert np.array_equal(stored, images.transpose(0, 3, 1, 2)) and read_labels == numbers.tolist()
    assert Prepared("cifar10-8", folder=sets).class_names == CLASS_NAMES


def test_a_text_of_the_hub(hub: Path) -> None:
    for split, lines in (("train", ["one", "two"]), ("test", ["three"])):
        datasets.Dataset.from_dict({"text": lines}).save_to_disk(hub / "dvruette/lm1b" / split)
    opened = open_set("one_billion_word-4", "text", prepare_set("one_billion_word-4", None, hub))
    words = ["".join(opened.about["vocabulary"][number] for number in line) for line in opened.samples]
    assert words == ["one`", "two`", "thre"] and opened.about["splits"] == {"train": [0, 2], "test": [2, 3]}


def test_an_unreachable_hub_gives_a_one_line_error_with_a_remedy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def load_dataset(*_: object, **__: object) -> None:
        raise ConnectionError("no route\nat all")

    monkeypatch.setattr(datasets, "load_dataset", load_dataset)
    with pytest.raises(InvalidValue, match=r"uoft-cs/cifar10.*--source PATH.*ConnectionError: no route at all$"):
        list(prepare("cifar10", folder=tmp_path))
    assert list(tmp_path.iterdir()) == []
