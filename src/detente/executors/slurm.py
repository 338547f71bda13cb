"""Tasks as jobs of Slurm, by submitit."""

from __future__ import annotations

import importlib
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from detente.errors import InvalidValue, require
from detente.executors.base import TRIES, Ended, Executor, Session, Task, carry_out, death_message, in_one_line

LOGS, STOP = "slurm", "slurm/stop"  # in the output folder: submitit's files; running jobs end when this file exists
STOP_SECONDS = 300  # how long a job may take to save its work
LOCAL_MINUTES = 7 * 24 * 60
SHARED = ("name", "timeout_min", "mem_gb", "nodes", "cpus_per_task", "gpus_per_node", "tasks_per_node")


@dataclass(frozen=True)
class Slurm(Executor):
    """Jobs of Slurm. A job that is preempted, or reaches its time limit, saves its work and is queued again.

    Every node must see the output folder under the same path. submitit's files lie in its folder `slurm`.

    Args:
        settings: settings of submitit's executor, such as partition, account, time (minutes), gpus_per_node,
            cpus_per_task and mem_gb. `cluster="local"` runs the jobs as processes of this machine, to try it.
        workers: number of jobs that are queued or run at once, ≥ 1.

    Source: submitit.AutoExecutor (github.com/facebookincubator/submitit).
    """

    package = "submitit"
    extra = "slurm"
    several_machines = True

    settings: Mapping[str, Any] = field(default_factory=dict)
    workers: int = 100

    def __post_init__(self) -> None:
        require(self.workers >= 1, "workers", self.workers, "an integer ≥ 1")

    def open(self, folder: Path) -> Session:
        self.check()
        submitit = importlib.import_module("submitit")
        settings = dict(self.settings)
        cluster = settings.pop("cluster", None)
        if cluster is None and submitit.AutoExecutor.which() != "slurm":
            hint = "Try it without Slurm: --slurm.cluster local"
            raise InvalidValue("executor", "slurm", "a machine with Slurm’s command srun", hint)
        if cluster == "local":
            settings = {"timeout_min": LOCAL_MINUTES, **settings}
        named = {name if name in SHARED else f"slurm_{name}": value for name, value in settings.items()}
        try:
            executor = submitit.AutoExecutor(folder.resolve() / LOGS, cluster=cluster)
            executor.update_parameters(**{"name": "detente", **named})
        except (NameError, AssertionError, ValueError, TypeError) as error:
            allowed = "settings of submitit’s executor, e.g. partition, account, time, gpus_per_node, mem_gb"
            raise InvalidValue("slurm", dict(self.settings), allowed, in_one_line(error)) from error
        return _Session(executor, submitit, folder.resolve(), self.workers)

    def pack(self, item: Any) -> bytes:
        return importlib.import_module("cloudpickle").dumps(item)


class _Work:
    """A task as a job; submitit calls `checkpoint` when the job is preempted, and queues what it returns."""

    def __init__(self, key: str, task: Task, item: Any, stop: Path) -> None:
        self.key, self.task, self.item, self.stop = key, task, item, stop

    def __call__(self) -> Ended:
        if self.stop.exists():
            return Ended(self.key, "stopped")
        return carry_out(self.key, self.task, self.item, _once_a_second(self.stop.exists))

    def checkpoint(self) -> Any:
        """Return the job that continues this one."""
        return importlib.import_module("submitit").helpers.DelayedSubmission(self)


class _Session(Session):
    def __init__(self, executor: Any, submitit: Any, folder: Path, workers: int) -> None:
        self.executor, self.capacity = executor, workers
        self.failures = submitit.core.utils.UncompletedJobError
        self.stop = folder / STOP
        self.stop.unlink(missing_ok=True)
        self.jobs: dict[str, tuple[Any, _Work, int]] = {}  # by key: job, its work, number of starts

    def submit(self, key: str, task: Task, item: Any) -> None:
        self._begin(key, _Work(key, task, item, self.stop), 1)

    def wait(self, seconds: float) -> list[Ended]:
        deadline = time.monotonic() + seconds
        while self.jobs:
            completed = [key for key, (job, _, _) in self.jobs.items() if job.done()]
            ends = [end for key in completed if (end := self._ended(key)) is not None]
            if ends or time.monotonic() >= deadline:
                return ends
            time.sleep(min(0.2, seconds))
        return []

    def close(self) -> None:
        if self.jobs:
            self.stop.parent.mkdir(parents=True, exist_ok=True)
            self.stop.touch()
        for job, _, _ in self.jobs.values():
            if job.state == "PENDING":
                job.cancel(check=False)
        deadline = time.monotonic() + STOP_SECONDS
        while any(not job.done() for job, _, _ in self.jobs.values()) and time.monotonic() < deadline:
            time.sleep(0.2)
        self.jobs.clear()

    def _begin(self, key: str, work: _Work, tries: int) -> None:
        self.jobs[key] = self.executor.submit(work), work, tries

    def _ended(self, key: str) -> Ended | None:
        """Return how a job ended; None if it ended without an error and was started again."""
        job, work, tries = self.jobs.pop(key)
        try:
            return job.result()
        except self.failures as error:
            if tries < TRIES:
                self._begin(key, work, tries + 1)
                return None
            return Ended(key, "failed", f"{death_message(tries)} ({in_one_line(error)[:200]})")
        except Exception as error:  # e.g. a user's module that cannot be imported there
            return Ended(key, "failed", in_one_line(error))


def _once_a_second(question: Callable[[], bool]) -> Callable[[], bool]:
    """Return a function that calls `question` at most once a second, and returns False in between."""
    last = time.monotonic()

    def throttled() -> bool:
        nonlocal last
        if time.monotonic() - last < 1.0:
            return False
        last = time.monotonic()
        return question()

    return throttled
