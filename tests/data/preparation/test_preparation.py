"""Preparing a set: complete or not at all, resumed, verified; broken samples are named or left out."""

from __future__ import annotations

import errno
import json
import shutil
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import pytest

from detente.data.cache import open_set
from detente.data.preparation import preparation, writer
from detente.data.preparation.preparation import damage, prepare
from detente.data.preparation.writer import SetWriter
from detente.data.prepared import Prepared
from detente.data.sources import SOURCES, named
from detente.errors import InvalidValue
from tests.data.preparation.originals import (
    CLASS_NAMES,
    image_table,
    pictures,
    write_idx,
    write_parquet,
    write_pictures,
)

COUNT = 40
IMAGES = pictures(COUNT)
LABELS = (np.arange(COUNT) % 3).tolist()


def write_source(folder: Path, file_format: str, **files: range) -> Path:
    """Write images with their labels: one file, of that name, for each range of `IMAGES`."""
    folder.mkdir()
    labels = np.array(LABELS)
    for name, rows in files.items():
        if file_format == "npz":
            split = name.partition("_")[0]
            arrays: dict[str, Any] = {f"x_{split}": IMAGES[rows], f"y_{split}": labels[rows]}
            np.savez(folder / name, **arrays)
        else:
            write_parquet(folder / f"{name}.parquet", image_table(IMAGES[rows], labels[rows], "img", CLASS_NAMES))
    return folder


@pytest.fixture(params=["npz", "parquet"])
def source(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """Two files of a set of 40 images."""
    if request.param == "parquet":
        pytest.importorskip("datasets", reason="needs the extra [data]")
    return write_source(tmp_path / "in", request.param, train_0=range(23), train_1=range(23, COUNT))


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


def test_progress_is_reported_after_every_block(source: Path, sets: Path) -> None:
    steps = list(prepare("cifar10-8", source, folder=sets))
    assert [step.done for step in steps] == [*range(3, 22, 3), 23, *range(26, 40, 3), 40]
    assert {step.total for step in steps} == {COUNT} and {step.before for step in steps} == {0}
    check(sets)


@pytest.mark.parametrize("stopped_after", [1, 7, 9, 14])
def test_an_interrupted_preparation_is_resumed(source: Path, sets: Path, stopped_after: int) -> None:
    steps = prepare("cifar10-8", source, folder=sets)
    completed = [next(steps).done for _ in range(stopped_after)][-1]
    steps.close()
    assert [path.name for path in sets.iterdir()] == ["cifar10-8.partial"]
    with pytest.raises(InvalidValue, match="detente data prepare cifar10-8"):
        Prepared("cifar10-8", folder=sets)
    resumed = list(prepare("cifar10-8", source, folder=sets))
    assert [step.before for step in resumed] == [completed] * len(resumed)
    check(sets)


def test_data_written_after_the_last_journal_entry_are_written_again(source: Path, sets: Path) -> None:
    """A process that is killed cannot save its journal."""
    steps = prepare("cifar10-8", source, folder=sets)
    for _ in range(4):
        next(steps)
    steps.close()
    partial = sets / "cifar10-8.partial"
    for name in ("images.npy", "labels.npy"):
        with (partial / name).open("ab") as file:
            file.write(b"more than the journal says")
    assert list(prepare("cifar10-8", source, folder=sets))[0].before == 12
    check(sets)


def test_another_source_is_not_resumed(source: Path, sets: Path, tmp_path: Path) -> None:
    steps = prepare("cifar10-8", source, folder=sets)
    next(steps)
    steps.close()
    other = write_source(tmp_path / "other", "npz", train=range(23), test=range(COUNT))
    assert next(iter(list(prepare("cifar10-8", other, folder=sets)))).before == 0
    assert Prepared("cifar10-8", None, folder=sets).size == 63


def test_an_interrupted_source_starts_again_after_another_one(
    source: Path, sets: Path, tmp_path: Path, monkeypatch
) -> None:
    """The second overwrites the first's files, so the first's journal must be gone, even if the second is killed."""
    np.savez(tmp_path / "other.npz", images=IMAGES[::-1])
    first = prepare("cifar10-8", source, folder=sets)
    for _ in range(5):
        next(first)
    first.close()
    with monkeypatch.context() as killed:
        killed.setattr(SetWriter, "_save_journal", lambda self: None)
        second = prepare("cifar10-8", tmp_path / "other.npz", folder=sets)
        next(second)
        second.close()
    assert list(prepare("cifar10-8", source, folder=sets))[0].before == 0
    check(sets)


def test_complete_sets_are_kept_and_damaged_ones_prepared_again(source: Path, sets: Path) -> None:
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
    """A file on a disk with room for a few more writes."""

    def __init__(self, file: BinaryIO, room: int) -> None:
        self.file, self.room = file, room

    def write(self, content: bytes) -> int:
        self.room -= 1
        if self.room < 0:
            raise OSError(errno.ENOSPC, "No space left on device")
        return self.file.write(content)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.file, name)


@pytest.mark.parametrize("moment", ["writing", "saving the journal", "completing"])
def test_a_full_disk_is_named_and_leaves_no_files(source: Path, sets: Path, monkeypatch, moment: str) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    original = SetWriter._open

    def open_on_a_full_disk(self: SetWriter) -> None:
        original(self)
        self._files = tuple(FullFile(file, 5) for file in self._files)  # pyright: ignore[reportAttributeAccessIssue]

    name = {"writing": "_open", "saving the journal": "_save_journal", "completing": "finish"}[moment]
    monkeypatch.setattr(SetWriter, name, open_on_a_full_disk if moment == "writing" else full)
    with pytest.raises(InvalidValue, match=r"cache: .*disk with free space.*Free some"):
        list(prepare("cifar10-8", source, folder=sets))
    assert list(sets.iterdir()) == []


def test_too_little_room_is_an_error_before_anything_is_written(source: Path, sets: Path, monkeypatch) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda path: shutil._ntuple_diskusage(10**9, 10**9, 5000))
    with pytest.raises(InvalidValue, match="a disk with .* GB of free space"):
        list(prepare("cifar10-8", source, folder=sets))
    assert not sets.exists()


def test_one_process_at_a_time(source: Path, sets: Path) -> None:
    first = prepare("cifar10-8", source, folder=sets)
    next(first)
    with pytest.raises(InvalidValue, match="no other process"):
        next(prepare("cifar10-8", source, folder=sets))
    assert list(first)
    check(sets)


def test_a_broken_image_is_named_or_left_out_and_counted(sets: Path, tmp_path: Path) -> None:
    write_pictures(tmp_path / "in" / "a", IMAGES[:20])
    write_pictures(tmp_path / "in" / "b", IMAGES[20:])
    broken = tmp_path / "in" / "a" / "017.png", tmp_path / "in" / "b" / "010.png"
    broken[0].write_bytes(b"no image")
    broken[1].write_bytes(broken[1].read_bytes()[:60])
    with pytest.raises(InvalidValue, match=r"source.*a/017\.png.*--skip-broken"):
        list(prepare("cifar10-8", tmp_path / "in", folder=sets))
    steps = list(prepare("cifar10-8", tmp_path / "in", skip_broken=True, folder=sets))
    assert steps[0].before == 15 and steps[-1].skipped == 2, "what was read before the broken image is not read again"
    data = Prepared("cifar10-8", folder=sets)
    rows = [row for row in range(COUNT) if row not in (17, 30)]
    assert np.array_equal(np.asarray(data.arrays[0]), IMAGES[rows].transpose(0, 3, 1, 2))
    assert data.labels is not None and data.labels.tolist() == [0] * 19 + [1] * 19
    assert open_set("cifar10-8", "images", sets).about["skipped"] == [str(file) for file in broken]


def test_a_source_of_only_broken_images_is_refused(sets: Path, tmp_path: Path) -> None:
    (tmp_path / "1.png").write_bytes(b"no image")
    with pytest.raises(InvalidValue, match="at least one sample that can be read"):
        list(prepare("celeba", tmp_path / "1.png", skip_broken=True, folder=sets))
    assert not (sets / "celeba").exists()


def test_files_are_synced_before_the_set_is_moved_to_its_place(source: Path, sets: Path, monkeypatch) -> None:
    order: list[str] = []
    sync, rename = writer.os.fsync, Path.rename
    monkeypatch.setattr(writer.os, "fsync", lambda file: (order.append("sync"), sync(file))[1])
    monkeypatch.setattr(Path, "rename", lambda path, to: (order.append("rename"), rename(path, to))[1])
    assert list(prepare("cifar10-8", source, folder=sets))
    assert order.count("rename") == 1 and order[-2:] == ["rename", "sync"] and order.count("sync") >= 5


def test_a_name_is_a_source_and_a_size() -> None:
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


def test_about_json_describes_the_set(source: Path, sets: Path) -> None:
    assert list(prepare("cifar10-8", source, folder=sets))
    about = json.loads((sets / "cifar10-8" / "about.json").read_text())
    assert about["shape"] == [COUNT, 3, 8, 8] and about["splits"] == {"train": [0, COUNT]}
    assert about["source"] == str(source) and about["classes"][:3] == list(CLASS_NAMES)
    assert set(about["sha256"]) == {"images.npy", "labels.npy"} and about["skipped"] == []


def test_five_thousand_images_take_little_time(tmp_path: Path) -> None:
    """70,000 images of 28 × 28 pixels may take 20 seconds, so 5,000 a fourteenth of that."""
    import time

    write_idx(tmp_path / "train-images-idx3-ubyte", pictures(5000, 28, 1))
    start = time.process_time()
    assert list(prepare("mnist", tmp_path, folder=tmp_path / "sets"))
    assert time.process_time() - start < 20 / 14
