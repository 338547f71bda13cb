"""Restores a `Run` and its checkpoints from a run directory."""

from __future__ import annotations

import sys
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING

from detente.cli.configuration import build, parse, parser
from detente.errors import InvalidValue, require

if TYPE_CHECKING:
    from detente.training.progress import Progress
    from detente.training.run import Run


def from_directory(directory: Path) -> SimpleNamespace:
    """Return the options of the run in a directory.

    Raises:
        InvalidValue: the directory holds no run, or one whose game was made in Python.
    """
    path, allowed = directory / "run.yaml", "a directory that `detente train` wrote"
    require(path.is_file(), "run", str(directory), allowed)
    from detente.training.run_directory.description import built_in_python, read_configuration

    if built_in_python(read_configuration(directory)):
        hint = "It was created by a Python call such as detente.compare; the same call continues it"
        raise InvalidValue("run", str(directory), allowed, hint)
    folder = str(read_configuration(directory).get("folder") or "")
    if folder and folder not in sys.path:
        sys.path.append(folder)  # where the user's own modules were when the run started
    return parse(parser("run", ""), ["--config", str(path)])


def checkpointed_steps(directory: Path) -> list[int]:
    """Return the steps of the checkpoints in a run directory, ascending."""
    from detente.training.run_directory import checkpoint

    return [checkpoint.step_of(path) for path in checkpoint.files(directory / "checkpoints")]


def trained(directory: Path, seed: int | None = None, step: int | None = None) -> tuple[Run, Progress]:
    """Return the run in a directory, and a checkpoint of a seed (default: the last of the first seed).

    Raises:
        InvalidValue: the directory has no run, no complete checkpoint, no such seed, or no checkpoint of that step.
    """
    options = from_directory(directory)
    seed = options.seeds[0] if seed is None else seed
    require(seed in options.seeds, "seed", seed, f"one of {', '.join(map(str, options.seeds))}")
    from detente.training.run_directory import checkpoint

    paths = {checkpoint.step_of(path): path for path in checkpoint.files(directory / "checkpoints")}
    steps = ", ".join(map(str, paths)) or "none"
    require(step is None or step in paths, "step", step, f"a step with a checkpoint: {steps}")
    run = build(options)
    loaded = checkpoint.load(directory / "checkpoints", run) if step is None else checkpoint.read(paths[step], run)
    return run, next(progress for progress in loaded if progress.seed == seed)
