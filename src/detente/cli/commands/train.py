"""`detente train`."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import yaml

from detente.cli import configuration
from detente.cli.display import console, shown
from detente.cli.terminal import quoted
from detente.cli.yaml_file import NOT_OPTIONS
from detente.errors import InvalidValue
from detente.training.loop import Tick, train
from detente.training.run import TIMES, Run
from detente.training.run_directory.description import made_in_python
from detente.training.run_directory.directory import STARTED
from detente.training.run_directory.lock import FILE as LOCK
from detente.training.run_directory.record import Record
from detente.training.signals import exit_status

RANK = 40
DESCRIPTION = "Train a game under a method, for one or several seeds, into a run directory."
EXAMPLES = """\
examples:
  detente train --game ring --method consensus --method.strength 10 --steps 2000 --seeds 0 1 --out runs/one
  detente train --game digits --method alternating --steps 200 --out runs/digits
  detente train --game ring --steps 1000000 --seconds 60 --out runs/minute
  detente train --config runs/one/run.yaml --steps 4000 --out runs/two
  detente train --game adversarial --game.generator mynets.Generator --game.discriminator mynets.Discriminator \\
                --game.data photos/ --method alternating --out runs/mine

`detente list` names games and methods; --game.help NAME and --method.help NAME show their settings.
"""


def main(words: Sequence[str]) -> int:
    """Train, and return the exit status."""
    parser = configuration.parser("train", DESCRIPTION, EXAMPLES)
    parser.add("--out", Path, "run directory to make, e.g. runs/one", None)
    parser.add("--overwrite", bool, "replace an existing run", False)
    options = configuration.parse(parser, words)
    if options.out is None:
        raise InvalidValue("out", None, "a directory to write the run into", "Say where with --out runs/NAME")
    run = configuration.build(parser, options)
    return carry_out(run, options.out, configuration.resolved(parser, options), overwrite=options.overwrite)


def carry_out(
    run: Run,
    directory: Path,
    described: dict[str, Any],
    resume: bool = False,
    overwrite: bool = False,
    name: str | None = None,
    quiet: bool = False,
    changed_data: bool = False,
) -> int:
    """Train a run into a directory with a progress bar, and return the exit status."""
    last: Tick | None = None
    path = quoted(directory)
    resuming = "the same Python call" if made_in_python(described) else f"detente resume {path}"
    try:
        with Record(run, directory, described, resume, overwrite, changed_data) as record:
            _require_trainable(record)
            ticks = record.follow(train(run, record.start))
            for tick in shown(ticks, run, name or directory.name):
                last = tick
    except KeyboardInterrupt as interrupt:
        text = f"Stopped at step {last.step}; saved." if last else "Stopped before the first step."
        console.print(f"{text} Go on with: {resuming}", soft_wrap=True)
        return exit_status(interrupt)
    except OSError as error:
        hint = f"{error.strerror or error}. What was saved is complete; continue with: {resuming}"
        raise InvalidValue("out", str(directory), "a directory that can be written to", hint) from error
    for progress in last.progress if last else ():
        if progress.diverged_at is not None:
            console.print(f"Seed {progress.seed} diverged at step {progress.diverged_at}; its record ends there.")
    if not quiet:
        console.print(f"{directory}: {last.execution if last else 'complete'}.", soft_wrap=True)
        console.print(f"Look at it: detente report {path} --out page.html", soft_wrap=True)
    return 0


def _require_trainable(record: Record) -> None:
    """Raise `InvalidValue` if every seed of a resumed run has diverged."""
    diverged = {progress.seed: progress.diverged_at for progress in record.start or ()}
    if diverged and all(step is not None for step in diverged.values()):
        steps = ", ".join(f"seed {seed} at step {step}" for seed, step in diverged.items())
        hint = "Train again with other settings, e.g. a smaller learning rate"
        run = f"{record.directory}, which diverged: {steps}"
        raise InvalidValue("run", run, "a run with a seed that has not diverged", hint)


def run_status(directory: Path, described: dict[str, Any]) -> Literal["absent", "finished", "unfinished", "other"]:
    """Return the status of a run in a directory; `other` if the directory holds anything but this run."""
    if not directory.exists() or (
        directory.is_dir() and all(file.name in (STARTED, LOCK) for file in directory.iterdir())
    ):
        return "absent"
    try:
        content = yaml.safe_load((directory / "run.yaml").read_text(encoding="utf-8"))
        recorded, requested = ({k: v for k, v in run.items() if v is not None} for run in (content, described))
    except (OSError, ValueError, AttributeError, yaml.YAMLError):
        return "other"
    if {key: value for key, value in recorded.items() if key not in NOT_OPTIONS} != requested:
        return "other"
    try:
        seeds = json.loads((directory / "status.json").read_text(encoding="utf-8"))["seeds"].values()
        finished = [seed["status"] in ("finished", "diverged") for seed in seeds]
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return "unfinished"
    return "finished" if finished and all(finished) else "unfinished"


def longer(run: Run, steps: int | None = None, seconds: float | None = None) -> Run:
    """Return the run with another end; intervals that follow from the number of steps stay as they were."""
    # With a time limit, the intervals follow from the seconds.
    every = {} if run.seconds else {f"{what}_every": run.every(what) for what in TIMES}
    ends = {"steps": run.steps if steps is None else steps, "seconds": run.seconds if seconds is None else seconds}
    return replace(run, **ends, **every)
