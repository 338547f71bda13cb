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
from detente.experiments.support.outcome import Outcome, reproduce
from detente.registry import members
from detente.training.run_directory.directory import held
from detente.training.signals import exit_status

RANK = 100
DESCRIPTION = "Reproduce a figure of one of the papers, and say which of its claims hold."
EXAMPLES = """\
examples:
  detente reproduce --list
  detente reproduce numerics_ring --profile smoke
  detente reproduce numerics_ring --profile laptop --out runs/figure2

The same command again goes on where the last one stopped.
"""
T = TypeVar("T")


def main(words: Sequence[str]) -> int:
    """Conduct the experiment, and return the exit status: 0 also where a claim does not hold, which is a result."""
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
        with held(folder):
            outcome = reproduce(known[options.name](), options.profile, folder, track)
    except KeyboardInterrupt as interrupt:
        console.print(f"Stopped; the same command goes on: detente reproduce {shlex.join(words)}", soft_wrap=True)
        return exit_status(interrupt)
    console.print(table(outcome))
    if options.profile == "smoke":
        console.print("A smoke profile shows that everything runs; it is too small to judge a claim by.")
    for line in outcome.deviations:
        console.print(f"Differs from the paper: {line}", soft_wrap=True)
    console.print(f"The picture: {folder / 'figure.png'}", soft_wrap=True)
    return 0


def table(outcome: Outcome) -> Table:
    """Return an outcome's claims as a table."""
    shown = Table(title=f"{outcome.title} ({outcome.source}; {outcome.profile})", title_justify="left")
    shown.add_column("claim")
    shown.add_column("paper", justify="right")
    shown.add_column("found [95 % interval]", justify="right")
    shown.add_column("holds")
    for one in outcome.verdicts:
        shown.add_row(one.sentence, one.paper or "–", str(one.found), "yes" if one.holds else "no")
    return shown


def track(items: Iterable[T], name: str, total: int | None = None) -> Iterator[T]:
    """Yield the items while a bar follows them; without a terminal, a line every ten seconds instead."""
    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(bar_width=32),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
    )
    spoken = time.monotonic()
    with Progress(*columns, console=console, disable=not console.is_terminal) as progress:
        task = progress.add_task(name, total=total)
        for done, item in enumerate(items, start=1):
            yield item
            progress.update(task, completed=done)
            if not console.is_terminal and time.monotonic() - spoken > 10:
                print(f"{name}: {done} of {total or '?'}", file=sys.stderr)
                spoken = time.monotonic()
