"""Preparing: whole or not at all, gone on with, checked, and what is broken told or left out."""

from __future__ import annotations

import errno
import json
import shutil
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import pytest
from tests.data.preparation.originals import pictures, png, write_idx, write_parquet

from detente.data.cache import open_set
from detente.data.preparation import preparation, unfinished
from detente.data.preparation.preparation import damage, prepare
from detente.data.preparation.unfinished import Unfinished
from detente.data.prepared import Prepared
from detente.data.sources import SOURCES, named
from detente.errors import InvalidValue

COUNT = 40
IMAGES = pictures(COUNT)
LABELS = (np.arange(COUNT) % 3).tolist()


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """Two Parquet files of a set of 40 images, with row groups of 4."""
    for number, rows in enumerate((range(23), range(23, COUNT))):
        images = [png(IMAGES[row]) for row in rows]
        write_parquet(tmp_path / "in" / f"train-{number}.parquet", images, [LABELS[row] for row in rows])
    return tmp_path / "in"


@pytest.fixture
def sets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(preparation, "BLOCK", 3)
    return tmp_path / "sets"


def check(sets: Path, name: str = "cifar10-8") -> None:
    data = Prepared(name, folder=sets)
    assert np.array_equal(np.asarray(data.arrays[0]), IMAGES.transpose(0, 3, 1, 2))
    assert data.labels is not None and data.labels.tolist() == LABELS
    assert damage(sets / name) is None
    assert sorted(file.name for file in (sets / name).iterdir()) == ["about.json", "images.npy", "labels.npy"]
    assert [path.name for path in sets.iterdir()] == [name]


def test_progress_goes_from_nothing_to_everything(source: Path, sets: Path) -> None:
    steps = list(prepare("cifar10-8", source, folder=sets))
    assert [step.done for step in steps] == [*range(3, 22, 3), 23, *range(26, 40, 3), 40]
    assert {step.total for step in steps} == {COUNT} and {step.before for step in steps} == {0}
    check(sets)


@pytest.mark.parametrize("stopped_after", [1, 7, 9, 14])
def test_an_interrupted_preparation_goes_on_where_it_stopped(source: Path, sets: Path, stopped_after: int) -> None:
    steps = prepare("cifar10-8", source, folder=sets)
    done = [next(steps).done for _ in range(stopped_after)][-1]
    steps.close()
    assert [path.name for path in sets.iterdir()] == ["cifar10-8.partial"]
    with pytest.raises(InvalidValue, match="detente data prepare cifar10-8"):
        Prepared("cifar10-8", folder=sets)
    rest = list(prepare("cifar10-8", source, folder=sets))
    assert [step.before for step in rest] == [done] * len(rest)
    check(sets)


def test_what_was_written_after_the_last_note_is_written_again(source: Path, sets: Path) -> None:
    """A process that is killed cannot note how far it is."""
    steps = prepare("cifar10-8", source, folder=sets)
    for _ in range(4):
        next(steps)
    steps.close()
    partial = sets / "cifar10-8.partial"
    for name in ("images.npy", "labels.npy"):
        with (partial / name).open("ab") as file:
            file.write(b"more than was noted")
    assert list(prepare("cifar10-8", source, folder=sets))[0].before == 12
    check(sets)


def test_another_source_is_not_gone_on_with(source: Path, sets: Path) -> None:
    steps = prepare("cifar10-8", source, folder=sets)
    next(steps)
    steps.close()
    shutil.copy(source / "train-0.parquet", source / "test-0.parquet")
    assert next(iter(list(prepare("cifar10-8", source, folder=sets)))).before == 0
    assert Prepared("cifar10-8", None, folder=sets).size == 63


def test_a_source_begun_before_another_begins_again(source: Path, sets: Path, tmp_path: Path, monkeypatch) -> None:
    """The second overwrites what the first had written, so the first's note must be gone, even if it is killed."""
    np.savez(tmp_path / "other.npz", images=IMAGES[::-1])
    first = prepare("cifar10-8", source, folder=sets)
    for _ in range(5):
        next(first)
    first.close()
    with monkeypatch.context() as killed:
        killed.setattr(Unfinished, "_note", lambda self: None)
        second = prepare("cifar10-8", tmp_path / "other.npz", folder=sets)
        next(second)
        second.close()
    assert list(prepare("cifar10-8", source, folder=sets))[0].before == 0
    check(sets)


def test_ready_and_whole_sets_are_left_alone_and_damaged_ones_made_again(source: Path, sets: Path) -> None:
    assert list(prepare("cifar10-8", source, folder=sets))
    assert list(prepare("cifar10-8", source, folder=sets)) == [] == list(prepare("cifar10-8", folder=sets))
    with (sets / "cifar10-8" / "images.npy").open("r+b") as file:
        file.seek(-1, 2)
        file.write(bytes([255 - IMAGES[-1, -1, -1, -1]]))
    assert "images.npy has another checksum" in str(damage(sets / "cifar10-8"))
    assert list(prepare("cifar10-8", source, folder=sets))
    check(sets)


def test_another_source_replaces_a_set(source: Path, sets: Path, tmp_path: Path) -> None:
    assert list(prepare("cifar10-8", source, folder=sets))
    np.savez(tmp_path / "other.npz", images=IMAGES[:5])
    assert list(prepare("cifar10-8", tmp_path / "other.npz", folder=sets))
    assert Prepared("cifar10-8", folder=sets).size == 5 and [path.name for path in sets.iterdir()] == ["cifar10-8"]
    assert sorted(file.name for file in (sets / "cifar10-8").iterdir()) == ["about.json", "images.npy"]


class FullFile:
    """A file on a disk that has room for some more writes."""

    def __init__(self, file: BinaryIO, room: int) -> None:
        self.file, self.room = file, room

    def write(self, content: bytes) -> int:
        self.room -= 1
        if self.room < 0:
            raise OSError(errno.ENOSPC, "No space left on device")
        return self.file.write(content)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.file, name)


@pytest.mark.parametrize("moment", ["writing", "noting", "completing"])
def test_a_full_disk_leaves_nothing_and_says_so(source: Path, sets: Path, monkeypatch, moment: str) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    opened = Unfinished._open

    def open_on_a_full_disk(self: Unfinished) -> None:
        opened(self)
        self._files = tuple(FullFile(file, 5) for file in self._files)  # pyright: ignore[reportAttributeAccessIssue]

    name = {"writing": "_open", "noting": "_note", "completing": "finish"}[moment]
    monkeypatch.setattr(Unfinished, name, open_on_a_full_disk if moment == "writing" else full)
    with pytest.raises(InvalidValue, match=r"cache: .*disk with room.*Free some"):
        list(prepare("cifar10-8", source, folder=sets))
    assert list(sets.iterdir()) == []


def test_a_disk_without_room_is_told_before_anything_is_written(source: Path, sets: Path, monkeypatch) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda path: shutil._ntuple_diskusage(10**9, 10**9, 5000))
    with pytest.raises(InvalidValue, match="a disk with .* GB of room"):
        list(prepare("cifar10-8", source, folder=sets))
    assert not sets.exists()


def test_one_process_at_a_time(source: Path, sets: Path) -> None:
    first = prepare("cifar10-8", source, folder=sets)
    next(first)
    with pytest.raises(InvalidValue, match="no other process"):
        next(prepare("cifar10-8", source, folder=sets))
    assert list(first)
    check(sets)


def test_a_broken_image_is_named_and_then_left_out_and_counted(sets: Path, tmp_path: Path) -> None:
    images = [png(image) for image in IMAGES]
    images[17], images[30] = b"no image", images[30][:60]
    write_parquet(tmp_path / "in" / "train.parquet", images, LABELS)
    with pytest.raises(InvalidValue, match=r"source.*train\.parquet row 17.*--skip-broken"):
        list(prepare("cifar10-8", tmp_path / "in", folder=sets))
    steps = list(prepare("cifar10-8", tmp_path / "in", skip_broken=True, folder=sets))
    assert steps[0].before == 15 and steps[-1].skipped == 2, "what was read before the broken image is not read again"
    data = Prepared("cifar10-8", folder=sets)
    kept = [number for number in range(COUNT) if number not in (17, 30)]
    assert np.array_equal(np.asarray(data.arrays[0]), IMAGES[kept].transpose(0, 3, 1, 2))
    assert data.labels is not None and data.labels.tolist() == [LABELS[number] for number in kept]
    skipped = open_set("cifar10-8", "images", sets).about["skipped"]
    assert [Path(one).name for one in skipped] == ["train.parquet row 17", "train.parquet row 30"]


def test_nothing_but_broken_images_is_no_set(sets: Path, tmp_path: Path) -> None:
    (tmp_path / "1.png").write_bytes(b"no image")
    with pytest.raises(InvalidValue, match="at least one sample that can be read"):
        list(prepare("celeba", tmp_path / "1.png", skip_broken=True, folder=sets))
    assert not (sets / "celeba").exists()


def test_the_set_is_on_the_disk_before_it_has_its_name(source: Path, sets: Path, monkeypatch) -> None:
    order: list[str] = []
    sync, rename = unfinished.os.fsync, Path.rename
    monkeypatch.setattr(unfinished.os, "fsync", lambda file: (order.append("sync"), sync(file))[1])
    monkeypatch.setattr(Path, "rename", lambda path, to: (order.append("rename"), rename(path, to))[1])
    assert list(prepare("cifar10-8", source, folder=sets))
    assert order.count("rename") == 1 and order[-2:] == ["rename", "sync"] and order.count("sync") >= 5


def test_names_mean_a_source_and_a_size() -> None:
    assert named("celeba") is SOURCES["celeba"] and named("celeba-32").size == 32 and named("celeba-32").crop == 160
    with pytest.raises(InvalidValue, match="'celeba'"):
        named("celebs")
    for wrong in (
        "celeba-",
        "celeba-0",
        "celeba-3",
        "celeba-4096",
        "celeba-big",
        "celeba-032",
        "../celeba",
        "celeba/x",
    ):
        with pytest.raises(InvalidValue, match="name"):
            named(wrong)


def test_about_says_what_the_set_is(source: Path, sets: Path) -> None:
    assert list(prepare("cifar10-8", source, folder=sets))
    about = json.loads((sets / "cifar10-8" / "about.json").read_text())
    assert about["shape"] == [COUNT, 3, 8, 8] and about["splits"] == {"train": [0, COUNT]}
    assert about["source"] == str(source) and about["classes"] == ["airplane", "automobile", "bird"]
    assert set(about["sha256"]) == {"images.npy", "labels.npy"} and about["skipped"] == []


def test_seventy_thousand_images_would_be_ready_in_time(tmp_path: Path) -> None:
    """5,000 arrays of 28 × 28 pixels take well under the fourteenth of 20 seconds that they may take."""
    import time

    write_idx(tmp_path / "train-images-idx3-ubyte", pictures(5000, 28, 1))
    begun = time.process_time()
    assert list(prepare("mnist", tmp_path, folder=tmp_path / "sets"))
    assert time.process_time() - begun < 20 / 14
