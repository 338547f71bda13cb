"""A set that is being prepared: it grows beside its place, can be gone on with, and is moved there when whole."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from detente.data.cache import ABOUT, LABELS
from detente.errors import InvalidValue

JOURNAL, LOCK = "journal.json", "lock"
EVERY = 2.0  # seconds between notes of how far it is
FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


@dataclass(frozen=True)
class Journal:
    """How far a preparation is.

    Args:
        stamp: of all that decides the result; where it differs, nothing is gone on with.
        done: records read.
        kept: samples written, by split, in order.
        skipped: broken records left out, as a person would look for them.
    """

    stamp: str
    done: int = 0
    kept: dict[str, int] = field(default_factory=dict)
    skipped: list[str] = field(default_factory=list)

    @property
    def rows(self) -> int:
        """Samples written, all splits together."""
        return sum(self.kept.values())


class Unfinished:
    """The files of a set that is being prepared, in the folder PLACE.partial.

    Args:
        place: folder of the set when it is whole.
        store: name of the file of samples.
        shape: of one sample.
        stamp: see `Journal`.
    """

    def __init__(self, place: Path, store: str, shape: tuple[int, ...], stamp: str) -> None:
        self.place, self.folder = place, place.with_name(f"{place.name}.partial")
        self.names, self.shapes, self.types = (store, LABELS), (shape, ()), (np.uint8, np.int64)
        self.journal = Journal(stamp)
        self._files: tuple[BinaryIO, ...] = ()
        self._noted = time.monotonic()

    @contextmanager
    def open(self) -> Iterator[Unfinished]:
        """Open the files, to go on where they stopped if they are of the same stamp; note how far it is at the end.

        Raises:
            InvalidValue: another process prepares this set; or the disk is full: then nothing is left behind.
        """
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            with (self.folder / LOCK).open("w") as lock:
                self._lock(lock)
                self._open()
                try:
                    yield self
                finally:
                    if self._files:
                        self._close()
        except OSError as error:
            if error.errno not in FULL:
                raise
            shutil.rmtree(self.folder, ignore_errors=True)
            hint = "Nothing was left behind. Free some, or let DETENTE_CACHE name a folder on another disk"
            raise InvalidValue("cache", str(self.place.parent), "a disk with room: this one is full", hint) from error

    def append(self, split: str, samples: list[np.ndarray], labels: list[int], skipped: list[str]) -> None:
        """Write samples with their labels behind those that are there; `skipped` names the records left out."""
        for file, values, kind in zip(self._files, (samples, labels), self.types, strict=True):
            file.write(np.ascontiguousarray(values, kind).tobytes())
        now = self.journal
        self.journal = replace(  # at once, so that an interruption finds it before or after
            now,
            done=now.done + len(samples) + len(skipped),
            kept={**now.kept, split: now.kept.get(split, 0) + len(samples)},
            skipped=[*now.skipped, *skipped],
        )
        if time.monotonic() - self._noted > EVERY:
            self._note()

    def finish(self, about: dict[str, Any]) -> None:
        """Complete the files, write `about` with their checksums, and move the set to its place at once."""
        rows = self.journal.rows
        for file, shape, kind in zip(self._files, self.shapes, self.types, strict=True):
            _write_header(file, (rows, *shape), kind)
        self._close()
        labelled = bool((np.load(self.folder / LABELS) >= 0).any())
        sums = {name: checksum(self.folder / name) for name in (self.names if labelled else self.names[:1])}
        whole = {**about, "labelled": labelled, "sha256": sums}
        _write(self.folder / ABOUT, json.dumps(whole, indent=1, ensure_ascii=False) + "\n")
        old = self.place.with_name(f"{self.place.name}.replaced")
        shutil.rmtree(old, ignore_errors=True)
        if self.place.exists():
            self.place.rename(old)
        self.folder.rename(self.place)
        _sync_folder(self.place.parent)
        shutil.rmtree(old, ignore_errors=True)
        for name in (JOURNAL, LOCK, *(() if labelled else (LABELS,))):
            (self.place / name).unlink()

    def _lock(self, lock: Any) -> None:
        try:
            import fcntl  # not on every system
        except ImportError:
            return
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise InvalidValue("name", self.place.name, "a set no other process prepares", "Wait for it") from error

    def _open(self) -> None:
        paths = [self.folder / name for name in self.names]
        found = None
        with suppress(OSError, ValueError, TypeError):  # none, or none that can be read: from the beginning
            found = Journal(**json.loads((self.folder / JOURNAL).read_text(encoding="utf-8")))
        going_on = found is not None and found.stamp == self.journal.stamp and all(path.is_file() for path in paths)
        self.journal = found if found and going_on else self.journal
        if not going_on:  # what it tells of is overwritten
            (self.folder / JOURNAL).unlink(missing_ok=True)
        files = []
        for path, shape, kind in zip(paths, self.shapes, self.types, strict=True):
            files.append(file := path.open("r+b" if going_on else "w+b"))
            _write_header(file, (0, *shape), kind)
            # What was written after the last note is written again.
            file.truncate(file.tell() + self.journal.rows * int(np.prod(shape)) * np.dtype(kind).itemsize)
            file.seek(0, os.SEEK_END)
        self._files = tuple(files)

    def _note(self) -> None:
        """Write down how far it is, after what it is about lies on the disk."""
        for file in self._files:
            file.flush()
            os.fsync(file.fileno())
        _write(self.folder / JOURNAL, json.dumps(vars(self.journal)))
        self._noted = time.monotonic()

    def _close(self) -> None:
        files = self._files
        try:
            self._note()
        finally:
            self._files = ()
            for file in files:
                with suppress(OSError):  # what could not be written was told above
                    file.close()


def checksum(file: Path) -> str:
    """Return the SHA-256 of a file, in hexadecimal digits."""
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _write_header(file: BinaryIO, shape: tuple[int, ...], kind: type[np.generic]) -> None:
    """Write an NPY header, whose length does not depend on the number of rows: numpy leaves room for it to grow."""
    file.seek(0)
    described = {"descr": np.lib.format.dtype_to_descr(np.dtype(kind)), "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_1_0(file, described)


def _write(path: Path, text: str) -> None:
    """Write a file so that no reader ever sees half of it."""
    temporary = path.with_name(f"{path.name}.tmp")
    with temporary.open("w", encoding="utf-8") as stream:
        stream.write(text)
        stream.flush()
        os.fsync(stream.fileno())
    temporary.replace(path)


def _sync_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
