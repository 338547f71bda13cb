"""Processes that conduct seeds at the same time, one thread each."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from contextlib import contextmanager
from typing import Any, TypeVar

from detente.experiments.base import Track
from detente.experiments.support.seeds import OutOfTime, SeedFolder, check_time
from detente.training.signals import raise_on_termination

T = TypeVar("T")
SECONDS_TO_SAVE = 60.0


class WorkerProcesses:
    """A pool of processes, as a context; leaving it stops them, and their trainings save their progress.

    Args:
        count: number of processes.
        deadline: time (of `time.time`) at which they stop.
    """

    def __init__(self, count: int, deadline: float | None = None) -> None:
        os.environ["OMP_NUM_THREADS"] = "1"  # inherited by the processes
        spawn = multiprocessing.get_context("spawn")
        self.count, self.deadline = count, deadline
        self.pool = ProcessPoolExecutor(count, spawn, _start)

    def __enter__(self) -> WorkerProcesses:
        return self

    def __exit__(self, *_: object) -> None:
        for process in multiprocessing.active_children():
            process.terminate()
        self.pool.shutdown(cancel_futures=True)

    def conduct(self, folder: SeedFolder, seeds: Sequence[int], prepared: dict[str, Any], track: Track) -> None:
        """Conduct seeds at the same time, as `conduct_here`."""
        with _ignored_interrupts():  # processes start at `submit`, and inherit what is ignored
            futures = [self.pool.submit(_conduct, folder, seed, prepared, self.deadline) for seed in seeds]
        for future in track(as_completed(futures), folder.folder.name, total=len(futures)):
            if not future.result():
                raise OutOfTime


def _conduct(folder: SeedFolder, seed: int, prepared: dict[str, Any], deadline: float | None) -> bool:
    """Conduct a seed, and return whether it was finished."""

    def track(items: Iterable[T], name: str, total: int | None = None) -> Iterator[T]:
        del name, total
        for item in items:
            yield item
            check_time(deadline)

    try:
        with raise_on_termination():
            check_time(deadline)
            folder.conduct(seed, prepared, track)
    except KeyboardInterrupt:
        return False
    return True


@contextmanager
def _ignored_interrupts() -> Iterator[None]:
    """Ignore Ctrl-C inside the context, if this is the main thread."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    previous = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, previous)


def _start() -> None:
    """Stop when the parent is gone. Ctrl-C is left to the parent, which then sends SIGTERM."""
    parent = multiprocessing.parent_process()
    assert parent is not None

    def watch() -> None:
        parent.join()
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(SECONDS_TO_SAVE)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()
