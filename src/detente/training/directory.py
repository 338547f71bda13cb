"""The files of a run directory: made, written whole or not at all, cut back to where a run goes on."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

from detente.errors import InvalidValue

STARTED = "run.yaml.tmp"  # all that a kill may leave of a run that had not begun
PICTURES = ("samples", "interpolations")  # folders of files by seed and step


def make(directory: Path, overwrite: bool) -> None:
    """Make a run directory.

    Raises:
        InvalidValue: it is there and holds something that may not be replaced, or cannot be made.
    """
    if directory.exists() and (not directory.is_dir() or any(p.name != STARTED for p in directory.iterdir())):
        if not overwrite or not (directory / "run.yaml").exists():
            raise InvalidValue(
                "out",
                str(directory),
                "a directory that does not exist yet",
                "Choose another, `detente resume` it, or replace the run in it with --overwrite",
            )
        shutil.rmtree(directory)
    try:
        directory.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InvalidValue("out", str(directory), "a directory that can be made", error.strerror or "") from error


def cut_back(directory: Path, step: int) -> None:
    """Remove what was recorded after `step`, so that a resumed record equals an undisturbed one."""
    path = directory / "metrics.jsonl"
    kept = []
    for line in path.read_text(encoding="utf-8").splitlines() if path.exists() else []:
        try:
            if json.loads(line)["step"] <= step:
                kept.append(line)
        except (ValueError, KeyError, TypeError):
            break  # the line that a kill cut short
    write_text(path, "".join(line + "\n" for line in kept))
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
