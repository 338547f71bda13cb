"""The files of a run directory: made, written whole or not at all, cut back to where a run goes on."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

from detente.errors import InvalidValue, require
from detente.training.run_directory import lock

STARTED = "run.yaml.tmp"  # all that a kill may leave of a run that had not begun
PICTURES = ("samples", "interpolations")  # folders of files by seed and step


def held(directory: Path) -> lock.DirectoryLock:
    """Return the lock of a directory, which is made if it is missing.

    Raises:
        InvalidValue: it cannot be made, or another process holds it.
    """
    try:
        directory.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InvalidValue("out", str(directory), "a directory that can be made", error.strerror or "") from error
    return lock.DirectoryLock(directory)


def clear(directory: Path, overwrite: bool) -> None:
    """Make a directory ready for a new run: empty but for its lock.

    Raises:
        InvalidValue: it holds something that may not be replaced.
    """
    content = [path for path in directory.iterdir() if path.name not in (STARTED, lock.FILE)]
    hint = "Choose another, `detente resume` it, or replace the run in it with --overwrite"
    replaceable = not content or (overwrite and (directory / "run.yaml").exists())
    require(replaceable, "out", str(directory), "a directory that does not exist yet", hint)
    for path in content:
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink()


def cut_back(directory: Path, step: int) -> None:
    """Remove what was recorded after `step`, so that a resumed record equals an undisturbed one."""
    path = directory / "metrics.jsonl"
    lines = []
    for line in path.read_text(encoding="utf-8").splitlines() if path.exists() else []:
        try:
            if json.loads(line)["step"] <= step:
                lines.append(line)
        except (ValueError, KeyError, TypeError):
            break  # the line that a kill cut short
    write_text(path, "".join(line + "\n" for line in lines))
    for folder in PICTURES:
        for file in (directory / folder).glob("seed*-step*"):
            if int(file.stem.rpartition("step")[2]) > step:
                file.unlink()


def write_text(path: Path, text: str) -> None:
    """Write a file whole or not at all."""
    temporary = path.with_name(path.name + ".tmp")
    try:
        temporary.write_text(text, encoding="utf-8")
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
