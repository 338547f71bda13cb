"""`detente reproduce`."""

from __future__ import annotations

import shlex
import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TypeVar

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from detente.cli.command_words import Parser
from detente.cli.display import console
from detente.errors import InvalidValue, require, unknown
from detente.experiments.base import PROFILES
from detente.experiments.support.reproduction import Outcome, reproduce
from detente.registry import members
from detente.training.run_directory.directory import lock_directory
from detente.training.signals import exit_status

RANK = 100
DESCRIPTION = "Reproduce a figure of one of the papers, and check its claims."
EXAMPLES = """\
examples:
  detente reproduce --list
  detente reproduce numerics_ring --profile smoke
  detente reproduce numerics_ring --profile laptop --out runs/figure2

The same command continues where the last one stopped.
"""
T = TypeVar("T")


def main(words: Sequence[str]) -> int:
    """Run the experiment, and return the exit status: 0 even if a claim does not hold, which is a result."""
    parser = Parser("reproduce", DESCRIPTION, EXAMPLES)
    parser.add("name", str, "an experiment from --list", None)
    parser.add("--list", bool, "list the experiments, one line each", False)
    text = "smoke (seconds, shows that it runs), laptop (two cores, at most 30 minutes) or paper (the paper's size)"
    parser.add("--profile", str, text, "laptop")
    parser.add("--out", Path, "folder for runs, picture and outcome (default: runs/reproduce/…)", None)
    options = parser.parse(words)
    known = members("experiments")
    if options.list:
        for name, experiment in known.items():
            console.print(
                f"{name:<{max(map(len, known))}}  {experiment.title} ({experiment.paper}, {experiment.figure})"
            )
        return 0
    if options.name is None:
        raise InvalidValue("name", None, ", ".join(known), "detente reproduce --list says what each shows")
    if options.name not in known:
        raise unknown("name", options.name, known)
    if options.profile not in PROFILES:
        raise unknown("profile", options.profile, PROFILES)
    folder = options.out or Path("runs/reproduce") / f"{options.name}-{options.profile}"
    require(not folder.exists() or folder.is_dir(), "out", str(folder), "a folder")
    try:
        with lock_directory(folder):
            outcome = reproduce(known[options.name](), options.profile, folder, track)
    except KeyboardInterrupt as interrupt:
        console.print(f"Stopped; continue with the same command: detente reproduce {shlex.join(words)}", soft_wrap=True)
        return exit_status(interrupt)
    console.print(table(outcome))
    if options.profile == "smoke":
        console.print("The smoke profile only shows that everything runs; it is too small to test a claim.")
    for line in outcome.deviations:
        console.print(f"Differs from the paper: {line}", soft_wrap=True)
    console.print(f"The picture: {folder / 'figure.png'}", soft_wrap=True)
    return 0


def table(outcome: Outcome) -> Table:
    """Return an outcome's claims as a table."""
    claims = Table(title=f"{outcome.title} ({outcome.source}; {outcome.profile})", title_justify="left")
    claims.add_column("claim")
    claims.add_column("paper", justify="right")
    claims.add_column("found [95 % interval]", justify="right")
    claims.add_column("holds")
    for verdict in outcome.verdicts:
        holds = "yes" if verdict.holds else "no"
        claims.add_row(verdict.sentence, verdict.paper or "–", str(verdict.found), holds)
    return claims


def track(items: Iterable[T], name: str, total: int | None = None) -> Iterator[T]:
    """Yield the items and show their progress: a bar, or without a terminal a line every ten seconds."""
    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(bar_width=32),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
    )
    last_print = time.monotonic()
    with Progress(*columns, console=console, disable=not console.is_terminal) as progress:
        task = progress.add_task(name, total=total)
        for done, item in enumerate(items, start=1):
            yield item
            progress.update(task, completed=done)
            if not console.is_terminal and time.monotonic() - last_print > 10:
                print(f"{name}: {done} of {total or '?'}", file=sys.stderr)
                last_print = time.monotonic()
