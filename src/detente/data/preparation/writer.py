"""The writer of prepared sets: it writes into a temporary folder, can be resumed, and finally renames the folder."""

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

from detente.data.cache import ABOUT, LABELS, replace_file
from detente.errors import InvalidValue

JOURNAL, LOCK = "journal.json", "lock"
JOURNAL_INTERVAL = 2.0  # seconds between updates of the journal
DISK_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


@dataclass(frozen=True)
class Journal:
    """Progress of a preparation, stored next to its files.

    Args:
        stamp: identifies the source and the settings; a preparation is only resumed if they are the same.
        done: number of records read.
        rows_by_split: number of samples written, by split, in order.
        skipped: names of broken records that were skipped.
    """

    stamp: str
    done: int = 0
    rows_by_split: dict[str, int] = field(default_factory=dict)
    skipped: list[str] = field(default_factory=list)

    @property
    def rows(self) -> int:
        """Number of samples written, in all splits."""
        return sum(self.rows_by_split.values())


class SetWriter:
    """Writes a set into the folder TARGET.partial and renames it to TARGET when it is complete.

    Args:
        target: folder of the complete set.
        samples_file: name of the file of samples.
        shape: shape of one sample.
        stamp: see `Journal`.
    """

    def __init__(self, target: Path, samples_file: str, shape: tuple[int, ...], stamp: str) -> None:
        self.target, self.folder = target, target.with_name(f"{target.name}.partial")
        self.names, self.shapes, self.dtypes = (samples_file, LABELS), (shape, ()), (np.uint8, np.int64)
        self.journal = Journal(stamp)
        self._files: tuple[BinaryIO, ...] = ()
        self._saved_at = time.monotonic()

    @contextmanager
    def open(self) -> Iterator[SetWriter]:
        """Open the files, resume if their stamp is the same, and save the journal on exit.

        Raises:
            InvalidValue: another process prepares this set; or the disk is full, in which case the files are deleted.
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
            if error.errno not in DISK_FULL:
                raise
            shutil.rmtree(self.folder, ignore_errors=True)
            hint = "The disk is full. Free some space, or set DETENTE_CACHE to a folder on another disk"
            raise InvalidValue("cache", str(self.target.parent), "a disk with free space", hint) from error

    def append(self, split: str, samples: list[np.ndarray], labels: list[int], skipped: list[str]) -> None:
        """Append samples with their labels; `skipped` are the names of the records that were skipped."""
        for file, values, dtype in zip(self._files, (samples, labels), self.dtypes, strict=True):
            file.write(np.ascontiguousarray(values, dtype).tobytes())
        journal = self.journal
        self.journal = replace(  # one assignment, so that an interruption leaves either the old or the new journal
            journal,
            done=journal.done + len(samples) + len(skipped),
            rows_by_split={**journal.rows_by_split, split: journal.rows_by_split.get(split, 0) + len(samples)},
            skipped=[*journal.skipped, *skipped],
        )
        if time.monotonic() - self._saved_at > JOURNAL_INTERVAL:
            self._save_journal()

    def finish(self, about: dict[str, Any]) -> None:
        """Complete the files, write `about` with their checksums, and move the set to its folder."""
        rows = self.journal.rows
        for file, shape, dtype in zip(self._files, self.shapes, self.dtypes, strict=True):
            _write_header(file, (rows, *shape), dtype)
        self._close()
        labelled = bool((np.load(self.folder / LABELS) >= 0).any())
        checksums = {name: checksum(self.folder / name) for name in (self.names if labelled else self.names[:1])}
        complete = {**about, "labelled": labelled, "sha256": checksums}
        replace_file(self.folder / ABOUT, (json.dumps(complete, indent=1, ensure_ascii=False) + "\n").encode())
        replaced = self.target.with_name(f"{self.target.name}.replaced")
        shutil.rmtree(replaced, ignore_errors=True)
        if self.target.exists():
            self.target.rename(replaced)
        self.folder.rename(self.target)
        _sync_folder(self.target.parent)
        shutil.rmtree(replaced, ignore_errors=True)
        for name in (JOURNAL, LOCK, *(() if labelled else (LABELS,))):
            (self.target / name).unlink()

    def _lock(self, lock: Any) -> None:
        try:
            import fcntl  # not on every system
        except ImportError:
            return
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            allowed = "a set that no other process prepares"
            raise InvalidValue("name", self.target.name, allowed, "Wait for the other process") from error

    def _open(self) -> None:
        paths = [self.folder / name for name in self.names]
        stored = None
        with suppress(OSError, ValueError, TypeError):  # missing or unreadable: start from the beginning
            content = json.loads((self.folder / JOURNAL).read_text(encoding="utf-8"))
            if "kept" in content:  # the name of an earlier release
                content["rows_by_split"] = content.pop("kept")
            stored = Journal(**content)
        if stored and stored.stamp == self.journal.stamp and all(path.is_file() for path in paths):
            self.journal, mode = stored, "r+b"
        else:  # the files that the journal describes are overwritten
            mode = "w+b"
            (self.folder / JOURNAL).unlink(missing_ok=True)
        files = []
        for path, shape, dtype in zip(paths, self.shapes, self.dtypes, strict=True):
            files.append(file := path.open(mode))
            _write_header(file, (0, *shape), dtype)
            # Remove samples written after the journal was last saved: they are written again.
            file.truncate(file.tell() + self.journal.rows * int(np.prod(shape)) * np.dtype(dtype).itemsize)
            file.seek(0, os.SEEK_END)
        self._files = tuple(files)

    def _save_journal(self) -> None:
        """Save the journal, after all samples that it counts are on the disk."""
        for file in self._files:
            file.flush()
            os.fsync(file.fileno())
        replace_file(self.folder / JOURNAL, json.dumps(vars(self.journal)).encode())
        self._saved_at = time.monotonic()

    def _close(self) -> None:
        files = self._files
        try:
            self._save_journal()
        finally:
            self._files = ()
            for file in files:
                with suppress(OSError):  # `_save_journal` has already raised the error
                    file.close()


def checksum(file: Path) -> str:
    """Return the SHA-256 of a file, in hexadecimal digits."""
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _write_header(file: BinaryIO, shape: tuple[int, ...], dtype: type[np.generic]) -> None:
    """Write an NPY header; numpy pads it, so that its length does not depend on the number of rows."""
    file.seek(0)
    header = {"descr": np.lib.format.dtype_to_descr(np.dtype(dtype)), "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_1_0(file, header)


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
