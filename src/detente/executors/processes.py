"""Tasks in processes of this machine, by `concurrent.futures`."""

from __future__ import annotations

import multiprocessing
import multiprocessing.connection
import os
import pickle
import signal
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any

from detente.errors import InvalidValue, require
from detente.executors.base import TRIES, Ended, Executor, Session, Task, carry_out, death_message, in_one_line

START_SECONDS, STOP_SECONDS = 120, 300  # how long a process may take to start, and to save its work


@dataclass(frozen=True)
class Processes(Executor):
    """Processes on this machine. If there are GPUs, each process sees one of them.

    A process that dies is replaced, and its task restarted; a task is started at most three times.

    Args:
        workers: number of processes, ≥ 1. Default: one for each GPU, or without a GPU for each core.
        threads: number of CPU threads of a process, ≥ 1, unless the task sets its own.
    """

    workers: int | None = None
    threads: int = 1

    def __post_init__(self) -> None:
        require(self.workers is None or self.workers >= 1, "workers", self.workers, "an integer ≥ 1, or None")
        require(self.threads >= 1, "threads", self.threads, "an integer ≥ 1")

    def open(self, folder: Path) -> Session:
        devices = visible_devices()
        count = self.workers or len(devices) or core_count()
        return _Session([_Worker(devices[i % len(devices)] if devices else None, self.threads) for i in range(count)])


def visible_devices() -> list[str]:
    """Return the names of the GPUs that this process sees, as CUDA_VISIBLE_DEVICES takes them."""
    import torch  # imported here, so that a process starts at once

    named = [name for name in os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",") if name]
    return named or [str(index) for index in range(torch.cuda.device_count())]


def core_count() -> int:
    """Return the number of cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


class _Worker:
    """A pool of one process, so that a process that dies takes no other task with it."""

    def __init__(self, device: str | None, threads: int) -> None:
        self.device, self.threads = device, threads
        self.pool: ProcessPoolExecutor | None = None
        self.started: Future[int] | None = None
        self.future: Future[Ended] | None = None
        self.key, self.work, self.tries = "", b"", 0

    def submit(self, key: str, work: bytes) -> None:
        self.key, self.work, self.tries = key, work, 0
        self.begin()

    def begin(self) -> None:
        self.tries += 1
        if self.pool is None:
            self.pool = ProcessPoolExecutor(1, multiprocessing.get_context("spawn"))
            with _ignored_interrupts():  # which the process inherits: Ctrl-C reaches it through `stop`
                self.started = self.pool.submit(_prepare, self.device, self.threads)
        try:
            self.future = self.pool.submit(_carry_out, self.key, self.work)
        except BrokenProcessPool as error:
            if self.tries < TRIES:  # it died while it was idle
                self.replace()
                self.begin()
            else:
                self.future = Future()
                self.future.set_exception(error)

    def replace(self) -> None:
        if self.pool is not None:
            self.pool.shutdown(wait=True, cancel_futures=True)
        self.pool = self.started = None

    def ended(self) -> Ended | None:
        """Return how the task ended; None if its process died and it was restarted."""
        future, self.future = self.future, None
        assert future is not None
        try:
            return future.result()
        except BrokenProcessPool:
            never_started = self.started is None or self.started.exception() is not None
            self.replace()
            if never_started:
                allowed = "a program whose module can be imported by other processes"
                hint = 'Call it from a file, below `if __name__ == "__main__":`'
                raise InvalidValue("executor", "processes", allowed, hint) from None
            if self.tries >= TRIES:
                return Ended(self.key, "failed", death_message(self.tries))
            self.begin()
            return None

    def stop(self) -> None:
        """Ask the process to save its task's work and to end it."""
        if self.future is None or self.started is None or self.future.done():
            return
        try:
            os.kill(self.started.result(START_SECONDS), signal.SIGTERM)
        except (OSError, BrokenProcessPool, TimeoutError):  # it has ended already
            pass


class _Session(Session):
    def __init__(self, workers: list[_Worker]) -> None:
        self.workers, self.capacity = workers, len(workers)

    def submit(self, key: str, task: Task, item: Any) -> None:
        idle = next(worker for worker in self.workers if worker.future is None)
        idle.submit(key, pickle.dumps((task, item)))

    def wait(self, seconds: float) -> list[Ended]:
        busy = {worker.future: worker for worker in self.workers if worker.future is not None}
        completed = wait(busy, timeout=seconds, return_when=FIRST_COMPLETED).done
        ends = [busy[future].ended() for future in completed]
        return [end for end in ends if end is not None]

    def close(self) -> None:
        for worker in self.workers:
            worker.stop()
        wait([worker.future for worker in self.workers if worker.future is not None], STOP_SECONDS)
        for worker in self.workers:
            worker.replace()


def _prepare(device: str | None, threads: int) -> int:
    """Prepare this process for its tasks, and return its number."""
    if device is not None:
        os.environ["CUDA_VISIBLE_DEVICES"] = device
    os.environ["OMP_NUM_THREADS"] = str(threads)  # of torch, if it is not imported yet
    if "torch" in sys.modules:
        sys.modules["torch"].set_num_threads(threads)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, _stop)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    return os.getpid()


_is_busy = False


def _stop(number: int, frame: FrameType | None) -> None:
    """End the task as Ctrl-C would, so that it saves its work."""
    if _is_busy:
        raise KeyboardInterrupt
    os._exit(128 + number)


def _end_with_parent() -> None:
    """Stop this process when the one that started it has died."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        multiprocessing.connection.wait([parent.sentinel])
        os.kill(os.getpid(), signal.SIGTERM)


def _carry_out(key: str, work: bytes) -> Ended:
    global _is_busy
    try:
        task, item = pickle.loads(work)
        _is_busy = True
        end = carry_out(key, task, item)
    except KeyboardInterrupt:
        end = Ended(key, "stopped")
    except Exception as error:  # e.g. a user's module that cannot be imported here
        end = Ended(key, "failed", in_one_line(error))
    finally:
        _is_busy = False
    parent = multiprocessing.parent_process()
    if parent is not None and not parent.is_alive():
        os._exit(0)  # no process waits for the answer
    return end


@contextmanager
def _ignored_interrupts() -> Iterator[None]:
    """Ignore Ctrl-C for a moment, where this is the main thread."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
