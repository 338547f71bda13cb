"""`detente reproduce`."""

from __future__ import annotations

import shlex
import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, TypeVar

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from detente.cli.command_words import Parser
from detente.cli.display import console
from detente.errors import InvalidValue, require, unknown
from detente.experiments.base import PROFILES
from detente.registry import described, members
from detente.training.run_directory.directory import lock_directory
from detente.training.signals import exit_status

if TYPE_CHECKING:
    from detente.experiments.support.reproduction import Outcome

RANK = 100
DESCRIPTION = "Reproduce figures of the papers, and check their claims."
EXAMPLES = """\
examples:
  detente reproduce --list
  detente reproduce numerics_ring --profile smoke
  detente reproduce numerics_ring --profile laptop --out runs/figure2
  detente reproduce numerics_ring --until decided --max-hours 2 --workers 2
  detente reproduce all --until decided --max-hours 35

The same command continues where the last one stopped: each seed's result is a file. With --until decided seeds are
added in blocks until every claim holds or is refuted. With several experiments, the next block goes to the one that has
used the least time, and each one has a head start of a quarter of an hour over the next.
"""
MOST_SEEDS, BLOCK, HEAD_START = 200, 4, 900.0
T = TypeVar("T")


def main(words: Sequence[str]) -> int:
    """Run experiments, and return the exit status: 0 even if a claim does not hold, which is a result."""
    parser = Parser("reproduce", DESCRIPTION, EXAMPLES)
    parser.add("names", list[str], "experiments from --list, or 'all'", [])
    parser.add("--list", bool, "list the experiments, one per line", False)
    text = "smoke (seconds, shows that it runs), laptop (two cores) or paper (the paper's size)"
    parser.add("--profile", str, text, "laptop")
    parser.add("--out", Path, "folder for runs, picture and outcome (default: runs/reproduce/…)", None)
    parser.add("--until", str | None, "'decided': add seeds until every claim is decided", None, "decided")
    parser.add("--max-hours", float | None, "stop after this time; the same command continues", None, "H")
    parser.add("--max-seeds", int, f"maximum number of seeds with --until (default: {MOST_SEEDS})", MOST_SEEDS)
    parser.add("--workers", int, "number of processes that train seeds, with one thread each (default: 1)", 1)
    options = parser.parse(words)
    known = described("experiments")
    if options.list:
        for name, experiment in known.items():
            title, paper, figure = map(experiment.constant, ("title", "paper", "figure"))
            console.print(f"{name:<{max(map(len, known))}}  {title} ({paper}, {figure})")
        return 0
    names = list(known) if options.names == ["all"] else list(dict.fromkeys(options.names))
    if not names:
        raise InvalidValue("names", None, ", ".join(known), "detente reproduce --list describes each")
    for name in names:
        if name not in known:
            raise unknown("name", name, known)
    if options.profile not in PROFILES:
        raise unknown("profile", options.profile, PROFILES)
    require(options.until in (None, "decided"), "until", options.until, "'decided'")
    for option in ("max_hours", "max_seeds", "workers"):
        value = getattr(options, option)
        require(value is None or value > 0, option.replace("_", "-"), value, "a number > 0")
    folders = {name: _folder(options, name, len(names)) for name in names}
    for folder in folders.values():
        require(not folder.exists() or folder.is_dir(), "out", str(folder), "a folder")
    from detente.experiments.support.seeds import OutOfTime

    hint = f"continue with the same command: detente reproduce {shlex.join(words)}"
    try:
        outcomes, failures = _reproduce(options, folders)
    except OutOfTime:
        console.print(f"{options.max_hours:g} hours are over; {hint}", soft_wrap=True)
        return 0
    except KeyboardInterrupt as interrupt:
        console.print(f"Stopped; {hint}", soft_wrap=True)
        return exit_status(interrupt)
    for name, outcome in outcomes.items():
        console.print(table(outcome))
        if len(names) == 1:
            for line in outcome.deviations:
                console.print(f"Differs from the paper: {line}", soft_wrap=True)
        if (picture := folders[name] / "figure.png").exists():
            console.print(f"The picture: {picture}", soft_wrap=True)
    if options.profile == "smoke":
        console.print("The smoke profile only shows that everything runs; it is too small to test a claim.")
    if failures and len(names) == 1:
        raise failures[names[0]]
    for name, error in failures.items():
        console.print(f"{name} failed: {error}", soft_wrap=True, markup=False)
    return 1 if failures else 0


def table(outcome: Outcome) -> Table:
    """Return an outcome's claims as a table."""
    seeds = f"; {len(outcome.seeds)} seed{'s' * (len(outcome.seeds) > 1)}" if outcome.seeds else ""
    claims = Table(title=f"{outcome.title} ({outcome.source}; {outcome.profile}{seeds})", title_justify="left")
    claims.add_column("claim")
    claims.add_column("paper", justify="right")
    claims.add_column("found [95 % interval]", justify="right")
    claims.add_column("holds if")
    claims.add_column("decision")
    for claim in outcome.claims:
        claims.add_row(claim.sentence, claim.paper or "–", str(claim.measured), claim.rule, claim.decision)
    return claims


def _folder(options: SimpleNamespace, name: str, count: int) -> Path:
    if options.out is not None and count == 1:
        return options.out
    return (options.out or Path("runs/reproduce")) / f"{name}-{options.profile}"


def _reproduce(options: SimpleNamespace, folders: dict[str, Path]) -> tuple[dict[str, Outcome], dict[str, Exception]]:
    """Conduct experiments, a block of seeds at a time, and return outcomes and failures by name."""
    from detente.experiments.support.reproduction import blocks_of_seeds, conduct_here
    from detente.experiments.support.worker_processes import WorkerProcesses

    known = members("experiments")
    deadline = None if options.max_hours is None else time.time() + 3600 * options.max_hours
    outcomes: dict[str, Outcome] = {}
    failures: dict[str, Exception] = {}
    with ExitStack() as stack:
        conduct = conduct_here
        if options.workers > 1:
            conduct = stack.enter_context(WorkerProcesses(options.workers, deadline)).conduct
        waiting: dict[str, Iterator[Outcome]] = {}
        waits = {name: HEAD_START * index for index, name in enumerate(folders)}
        for name, folder in folders.items():
            stack.enter_context(lock_directory(folder))
            experiment = known[name]()
            count = experiment.size(options.profile).get("seeds", 1)
            block, most = (BLOCK, options.max_seeds) if options.until else (count, count)
            waiting[name] = blocks_of_seeds(
                experiment, options.profile, folder, track, bool(options.until), block, most, conduct, deadline
            )
        while waiting:
            name = min(waiting, key=lambda name: waits[name] + (outcomes[name].seconds if name in outcomes else 0.0))
            try:
                outcomes[name] = next(waiting[name])
            except StopIteration:
                del waiting[name]
            except Exception as error:  # the other experiments continue
                failures[name] = error
                del waiting[name]
            else:
                if len(folders) > 1:
                    outcome = outcomes[name]
                    line = f"{outcome.undecided} of {len(outcome.claims)} claims undecided"
                    text = (
                        f"{time.strftime('%F %T')} {name}: {len(outcome.seeds)} seeds, {outcome.seconds:.0f} s, {line}"
                    )
                    console.print(text, soft_wrap=True, markup=False)
    return outcomes, failures


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
