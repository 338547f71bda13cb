"""Runs each job in its own process, without caches, threads or memory of earlier jobs."""

from __future__ import annotations

import importlib
import multiprocessing
import os
import threading

from benchmarks.row import Row


def measure(name: str, quick: bool) -> list[Row]:
    """Run one job, and return its rows."""
    return importlib.import_module(f"benchmarks.{name}").run(quick)


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    os._exit(1)


def _send_rows(name: str, quick: bool, connection) -> None:  # noqa: ANN001
    threading.Thread(target=_end_with_parent, daemon=True).start()
    try:
        connection.send(measure(name, quick))
    except Exception as error:
        connection.send(f"{type(error).__name__}: {str(error).partition(chr(10))[0]}")


def measure_in_process(name: str, quick: bool) -> list[Row] | str:
    """Run one job in a new process, and return its rows, or the reason why there are none."""
    context = multiprocessing.get_context("spawn")
    receiver, sender = context.Pipe(duplex=False)
    process = context.Process(target=_send_rows, args=(name, quick, sender))
    process.start()
    sender.close()
    try:
        return receiver.recv()
    except EOFError:
        return "its process ended early"
    finally:
        process.join()
