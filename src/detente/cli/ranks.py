"""Commands that torchrun starts as several processes: they print once, and an error ends all of them."""

from __future__ import annotations

import os
import sys
import warnings
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from detente.cli.command_words import Parser
from detente.cli.terminal import silence

if TYPE_CHECKING:
    from detente.ranks import Ranks

TIMEOUT = 1800.0  # as in detente.training.distributed, which imports torch
SHARD = "divide all memory except the parameters (optimizers, averages) among the processes that torchrun starts"
INEXACT = "if samples interact other than by BatchNorm, let them interact within each process's rows only"
HELP = "seconds to wait for the other processes, if torchrun starts several"
Result = TypeVar("Result")
_AT_THE_END: list[ExitStack] = []  # prevents signals from ending the process before it has printed an error


def add_options(parser: Parser) -> None:
    """Add the options of processes that torchrun starts."""
    parser.add("--shard", bool, SHARD, False)
    parser.add("--inexact", bool, INEXACT, False)
    parser.add("--timeout", float, HELP, TIMEOUT)


def one_of_several() -> bool:
    """Return whether torchrun started this process as one of several."""
    return int(os.environ.get("WORLD_SIZE", "1")) > 1 and "RANK" in os.environ


def is_first(ranks: Ranks | None) -> bool:
    """Return whether this process prints and writes."""
    return ranks is None or ranks.rank == 0


@contextmanager
def all_ranks(options: Any) -> Iterator[Ranks | None]:
    """Yield this process's rank after all have joined, or None without torchrun; only rank 0 prints inside.

    Args:
        options: the options of `add_options`.
    """
    if not one_of_several():
        yield None
        return
    from detente.errors import RankError
    from detente.training.distributed import joined, leave, naming_lost_ranks
    from detente.training.signals import note_signals

    ranks = joined(timeout=options.timeout, shard=options.shard, inexact=options.inexact)
    with warnings.catch_warnings():
        if not is_first(ranks):
            warnings.simplefilter("ignore")
            silence(sys.stdout)
        with ExitStack() as stack:
            stack.enter_context(note_signals())  # of a failed rank, torchrun sends SIGTERM to the others
            try:
                with naming_lost_ranks(ranks):
                    yield ranks
            except RankError:
                _AT_THE_END.append(stack.pop_all())
                raise
    leave(ranks)


def built_everywhere(build: Callable[[], Result], ranks: Ranks | None) -> Result:
    """Return what is built on this rank, once it was built on all; a mistake on one ends all."""
    if ranks is None:
        return build()
    from detente.training.distributed import everywhere

    return everywhere(build, ranks)


def continues(
    directory: Path, described: dict[str, Any], ranks: Ranks | None, resume: bool = False, overwrite: bool = False
) -> bool:
    """Return whether the run in a directory is to be continued; all ranks must call it.

        It is continued if it has the same options, and the user requests it or torchrun has restarted the processes. A
    machine that replaces another does not know of a restart, but it knows the name of torchrun's job, which the run
    stores.

    Args:
            directory: the run directory.
            described: the options of the run.
            ranks: the ranks.
            resume: whether the user requests it.
            overwrite: whether a finished run is replaced.
    """
    from detente.training.distributed import everyones, launch, restarted
    from detente.training.run_directory.description import read_configuration
    from detente.training.run_directory.lock import take_over
    from detente.training.run_directory.status import run_status

    is_restarted = any(everyones(restarted(), ranks))
    status = run_status(directory, described)
    if status not in ("finished", "unfinished"):
        return False
    same_launch = launch() != "" and read_configuration(directory).get("launch") == launch()
    same_job = is_restarted or (same_launch and (status == "unfinished" or not overwrite))
    if same_job and is_first(ranks):  # the former rank 0 may have been on a machine that was lost
        take_over(directory)
    return resume or same_job


@contextmanager
def printing_once(error: BaseException) -> Iterator[bool]:
    """Yield whether this process prints an error that several may have raised; the others wait until it has."""
    if not one_of_several():
        yield True
        return
    from detente.training.distributed import announce_printed, tells

    yield tells(error)
    announce_printed()
