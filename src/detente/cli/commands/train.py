"""`detente train`."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from detente.cli import configuration
from detente.cli.display import console, with_progress_bar
from detente.cli.ranks import add_options, all_ranks, built_everywhere, continues, is_first
from detente.cli.terminal import quoted
from detente.errors import InvalidValue
from detente.training.run_directory import lock
from detente.training.run_directory.directory import require_replaceable
from detente.training.signals import exit_status

if TYPE_CHECKING:
    from detente.checks.base import Finding
    from detente.ranks import Ranks
    from detente.training.loop import Tick
    from detente.training.run import Run

RANK = 40
RESUME = "continue the run in --out if it has the same options; automatic with `torchrun --max-restarts`"
NO_CHECKS = "skip the checks of data, networks and learning rates before training"
DESCRIPTION = "Train a game under a method, for one or several seeds, into a run directory."
EXAMPLES = """\
examples:
  detente train --game ring --method consensus --method.strength 10 --steps 2000 --seeds 0 1 --out runs/one
  detente train --game digits --method alternating --steps 200 --out runs/digits
  detente train --game ring --steps 1000000 --seconds 60 --out runs/minute
  detente train --config runs/one/run.yaml --steps 4000 --out runs/two
  detente train --game adversarial --game.generator mynets.Generator --game.discriminator mynets.Discriminator \\
                --game.data photos/ --method alternating --out runs/mine
  torchrun --nproc-per-node 4 --max-restarts 3 -m detente train --game images --device cuda --out runs/large

`detente list` names games and methods; --game.help NAME and --method.help NAME show their settings.
"""


def main(words: Sequence[str]) -> int:
    """Train, and return the exit status."""
    parser = configuration.parser("train", DESCRIPTION, EXAMPLES)
    parser.add("--out", Path, "run directory to create, e.g. runs/one", None)
    parser.add("--overwrite", bool, "replace an existing run", False)
    parser.add("--resume", bool, RESUME, False)
    parser.add("--no-checks", bool, NO_CHECKS, False)
    add_options(parser)
    options = configuration.parse(parser, words)
    if options.out is None:
        raise InvalidValue("out", None, "a directory to write the run into", "Say where with --out runs/NAME")
    with all_ranks(options) as ranks:
        run = built_everywhere(lambda: configuration.build(options), ranks)
        described = configuration.resolved(options)
        resume = continues(options.out, described, ranks, options.resume, options.overwrite)
        if ranks is None and not resume and not (options.out / lock.FILE).exists():  # otherwise it says who holds it
            require_replaceable(options.out, options.overwrite)
        if not options.no_checks and is_first(ranks):
            from detente.checks.base import inspect

            print_warnings(inspect(run.game, run.method))
        overwrite = options.overwrite and not resume
        return carry_out(run, options.out, described, resume, overwrite, ranks=ranks)


def print_warnings(findings: Sequence[Finding]) -> None:
    """Print a line on standard error for each finding."""
    for finding in findings:
        print(f"warning: {' '.join(str(finding).split())} (turn off with --no-checks)", file=sys.stderr, flush=True)


def carry_out(
    run: Run,
    directory: Path,
    described: dict[str, Any],
    resume: bool = False,
    overwrite: bool = False,
    name: str | None = None,
    quiet: bool = False,
    changed_data: bool = False,
    ranks: Ranks | None = None,
) -> int:
    """Train a run into a directory with a progress bar, and return the exit status."""
    from detente.training.run_directory.description import built_in_python
    from detente.training.run_directory.record import train_into

    last: Tick | None = None
    path = quoted(directory)
    resuming = "the same Python call" if built_in_python(described) else f"detente resume {path}"
    if ranks is not None and ranks.count > 1:
        resuming = f"torchrun --nproc-per-node {ranks.count} -m {resuming}"
    try:
        ticks = train_into(run, directory, described, resume, overwrite, changed_data, ranks)
        for tick in with_progress_bar(ticks, run, name or directory.name):
            last = tick
    except KeyboardInterrupt as interrupt:
        text = f"Stopped at step {last.step}; saved." if last else "Stopped before the first step."
        console.print(f"{text} Continue with: {resuming}", soft_wrap=True)
        return exit_status(interrupt)
    except OSError as error:
        hint = f"{error.strerror or error}. Saved files are complete; continue with: {resuming}"
        raise InvalidValue("out", str(directory), "a directory that can be written to", hint) from error
    for progress in last.progress if last else ():
        if progress.diverged_at is not None:
            why = f" ({progress.cause})" if progress.cause else ""
            console.print(f"Seed {progress.seed} diverged at step {progress.diverged_at}{why}; its record ends there.")
        if progress.stopped_at is not None:
            console.print(f"Seed {progress.seed} stopped at step {progress.stopped_at} by --stop_when {run.stop_when}.")
    if last and last.fallback_reason:
        console.print(f"{directory}: steps ran eagerly: {last.fallback_reason}", soft_wrap=True)
    if not quiet:
        console.print(f"{directory}: {last.execution if last else 'complete'}.", soft_wrap=True)
        console.print(f"Look at it: detente report {path} --out page.html", soft_wrap=True)
    return 0
