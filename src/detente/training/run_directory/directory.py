"""Prepare a run directory, write its files atomically, and truncate them for resuming."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

from detente.errors import InvalidValue, require
from detente.training.run_directory import lock

TEMPORARY_CONFIG = "run.yaml.tmp"  # the only file that a run leaves if it is killed before it starts
PARTS = "parts"  # folder with one run directory for each seed of a run that is split
PICTURE_FOLDERS = ("samples", "interpolations")  # folders with one file per seed and step


def lock_directory(directory: Path) -> lock.DirectoryLock:
    """Create a directory if needed, and return its lock.

    Raises:
        InvalidValue: the directory cannot be created, or another process holds its lock.
    """
    try:
        directory.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InvalidValue("out", str(directory), "a directory that can be created", error.strerror or "") from error
    return lock.DirectoryLock(directory)


def clear(directory: Path, overwrite: bool, holds: str = "run.yaml") -> None:
    """Empty a directory for a new run, except for its lock.

    Args:
        directory: the directory.
        overwrite: replace what is in it, if that is a run.
        holds: name of a file that identifies a run or another directory that may be replaced.

    Raises:
        InvalidValue: the directory contains files that must not be replaced.
    """
    for path in require_replaceable(directory, overwrite, holds):
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink()


def require_replaceable(directory: Path, overwrite: bool, holds: str = "run.yaml") -> list[Path]:
    """Return what `clear` removes, empty if there is no such directory; its arguments and errors."""
    paths = directory.iterdir() if directory.is_dir() else ()
    content = [path for path in paths if path.name not in (TEMPORARY_CONFIG, lock.FILE)]
    hint = "Choose another, `detente resume` it, or replace the run in it with --overwrite"
    holds_run = (directory / holds).exists() or (directory / PARTS).is_dir()
    replaceable = not content or (overwrite and holds_run)
    require(replaceable, "out", str(directory), "a directory that does not exist yet", hint)
    return content


def truncate_record(directory: Path, step: int) -> None:
    """Remove everything recorded after `step`, so that a resumed run has the same record as an uninterrupted one."""
    path = directory / "metrics.jsonl"
    lines = []
    for line in path.read_text(encoding="utf-8").splitlines() if path.exists() else []:
        try:
            if json.loads(line)["step"] <= step:
                lines.append(line)
        except (ValueError, KeyError, TypeError):
            break  # a line that was cut off when the process was killed
    write_text(path, "".join(line + "\n" for line in lines))
    for folder in PICTURE_FOLDERS:
        for file in (directory / folder).glob("seed*-step*"):
            if int(file.stem.rpartition("step")[2]) > step:
                file.unlink()


def write_text(path: Path, text: str) -> None:
    """Write a file atomically."""
    temporary = path.with_name(path.name + ".tmp")
    try:
        temporary.write_text(text, encoding="utf-8")
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
