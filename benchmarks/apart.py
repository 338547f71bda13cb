"""Each job in a process of its own, so that none finds caches, threads or memory that another left."""

from __future__ import annotations

import importlib
import multiprocessing

from benchmarks.row import Row


def measure(name: str, quick: bool) -> list[Row]:
    """Return the rows of one job."""
    return importlib.import_module(f"benchmarks.{name}").run(quick)


def _send(name: str, quick: bool, pipe) -> None:  # noqa: ANN001
    try:
        pipe.send(measure(name, quick))
    except Exception as error:
        pipe.send(f"{type(error).__name__}: {str(error).partition(chr(10))[0]}")


def measured(name: str, quick: bool) -> list[Row] | str:
    """Return the rows of one job measured in a fresh process, or why there are none."""
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe(duplex=False)
    process = context.Process(target=_send, args=(name, quick, theirs))
    process.start()
    theirs.close()
    try:
        return ours.recv()
    except EOFError:
        return "its process ended early"
    finally:
        process.join()
