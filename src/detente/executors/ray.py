"""Tasks on Ray, on this machine or on a cluster."""

from __future__ import annotations

import importlib
import os
import re
import secrets
import socket
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from detente.errors import InvalidValue, require
from detente.executors.base import TRIES, Ended, Executor, Session, Task, carry_out, death_message, in_one_line

TOKEN = ".ray-token"  # every node must find this file in the output folder
NODE_SECONDS, STOP_SECONDS = 120, 300  # how long a node may take to answer, and a task to save its work
CONNECT_SECONDS = 10
STORE_BYTES = 200_000_000  # of Ray's object store on this machine; tasks return a few words


@dataclass(frozen=True)
class Ray(Executor):
    """Plain tasks of Ray (2.40 or later). A task whose worker or node is lost restarts elsewhere, up to three times.

    Every node must see the output folder under the same path, and have détente installed.

    Args:
        address: address of the cluster: "auto", HOST:PORT or ray://HOST:PORT. Default: start Ray on this machine.
        gpus: GPUs of a task, ≥ 0; a fraction lets tasks share one.
        cpus: CPU cores of a task, ≥ 1, and the number of its threads unless the task sets its own.
        workers: number of tasks in flight, ≥ 1. Default: as many as fit on the cluster when it is opened; a larger
            number lets an autoscaling cluster grow.

    Source: Moritz et al. 2018, Ray: A Distributed Framework for Emerging AI Applications (arXiv:1712.05889).
    """

    package = "ray"
    extra = "ray"
    several_machines = True

    address: str | None = None
    gpus: float = 0.0
    cpus: int = 1
    workers: int | None = None

    def __post_init__(self) -> None:
        require(self.gpus >= 0, "gpus", self.gpus, "a number ≥ 0")
        require(self.cpus >= 1, "cpus", self.cpus, "an integer ≥ 1")
        require(self.workers is None or self.workers >= 1, "workers", self.workers, "an integer ≥ 1, or None")

    def open(self, folder: Path) -> Session:
        self.check()
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
        os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")  # Ray's default from its next release
        ray = importlib.import_module("ray")
        starts = not ray.is_initialized()
        if starts:
            self._start(ray)
        try:
            token = folder.resolve() / TOKEN
            token.write_text(secrets.token_hex(16), encoding="utf-8")
            _require_shared(ray, token)
            return _Session(ray, self, token, starts)
        except BaseException:
            if starts:
                ray.shutdown()
            raise

    def pack(self, item: Any) -> bytes:
        return importlib.import_module("ray.cloudpickle").dumps(item)

    def _start(self, ray: Any) -> None:
        settings: dict[str, Any] = {"log_to_driver": False, "logging_level": "ERROR"}
        if self.address is None:
            os.environ.setdefault("RAY_worker_niceness", "0")  # Ray’s default priority is below every other program's
            settings |= {"include_dashboard": False, "object_store_memory": STORE_BYTES}
            settings |= {"num_cpus": self.workers * self.cpus} if self.workers else {}
        else:
            settings["address"] = self.address
            _require_reachable(self.address)
        try:
            ray.init(**settings)
        except Exception as error:  # Ray raises many kinds
            hint = f"{in_one_line(error)[:200]}. Start a cluster with `ray start --head`, or leave the address out"
            raise InvalidValue("address", self.address, "the address of a running Ray cluster", hint) from error


def _require_reachable(address: str) -> None:
    """Raise `InvalidValue` if nothing answers at an address, for which Ray itself would wait for minutes."""
    match = re.fullmatch(r"(?:ray://)?\[?([^/\]]+?)\]?:(\d+)", address)
    try:
        if match is not None:
            socket.create_connection((match[1], int(match[2])), CONNECT_SECONDS).close()
    except OSError as error:
        hint = f"{error.strerror or error}. Start a cluster with `ray start --head`, or leave the address out"
        raise InvalidValue("address", address, "the address of a running Ray cluster", hint) from error


class _Session(Session):
    def __init__(self, ray: Any, settings: Ray, token: Path, starts: bool) -> None:
        self.ray, self.token, self.starts = ray, token, starts
        self.capacity = settings.workers or _capacity(ray.cluster_resources(), settings)
        options = {"num_cpus": settings.cpus, "num_gpus": settings.gpus, "max_retries": TRIES}
        self.remote = ray.remote(**options)(_carry_out)
        self.keys: dict[Any, str] = {}  # by reference to the result

    def submit(self, key: str, task: Task, item: Any) -> None:
        content = str(self.token), self.token.read_text(encoding="utf-8")
        self.keys[self.remote.remote(key, task, item, content)] = key

    def wait(self, seconds: float) -> list[Ended]:
        if not self.keys:
            return []
        ready, _ = self.ray.wait(list(self.keys), timeout=seconds)
        if ready:
            ready, _ = self.ray.wait(list(self.keys), num_returns=len(self.keys), timeout=0)
        return [self._ended(reference, self.keys.pop(reference)) for reference in ready]

    def close(self) -> None:
        for reference in self.keys:
            self.ray.cancel(reference, force=False)  # raises KeyboardInterrupt in the task, which saves its work
        if self.keys:
            self.ray.wait(list(self.keys), num_returns=len(self.keys), timeout=STOP_SECONDS)
        self.keys.clear()
        self.token.unlink(missing_ok=True)
        if self.starts:
            self.ray.shutdown()

    def _ended(self, reference: Any, key: str) -> Ended:
        errors = self.ray.exceptions
        try:
            return self.ray.get(reference)
        except errors.TaskCancelledError:
            return Ended(key, "stopped")
        except (errors.WorkerCrashedError, errors.NodeDiedError, errors.LocalRayletDiedError):
            return Ended(key, "failed", death_message(TRIES + 1))
        except errors.RayError as error:
            return Ended(key, "failed", in_one_line(error))


def _capacity(resources: dict[str, float], settings: Ray) -> int:
    """Return how many tasks a cluster can run at once."""
    counts = [resources.get("CPU", 0.0) / settings.cpus]
    counts += [resources.get("GPU", 0.0) / settings.gpus] if settings.gpus else []
    allowed = f"at most what the cluster has: {resources.get('CPU', 0):g} CPUs, {resources.get('GPU', 0):g} GPUs"
    hint = "Set the number of tasks with --workers if the cluster will grow"
    require(min(counts) >= 1, "gpus" if counts[0] >= 1 else "cpus", settings.gpus or settings.cpus, allowed, hint)
    return int(min(counts))


def _require_shared(ray: Any, token: Path) -> None:
    """Raise `InvalidValue` if a node of the cluster does not see the output folder."""
    strategy = importlib.import_module("ray.util.scheduling_strategies").NodeAffinitySchedulingStrategy
    nodes = {node["NodeID"]: node["NodeManagerAddress"] for node in ray.nodes() if node["Alive"]}
    sees = ray.remote(num_cpus=0, max_retries=1)(_sees)
    content = str(token), token.read_text(encoding="utf-8")
    answers = {
        sees.options(scheduling_strategy=strategy(node, soft=False)).remote(content): address
        for node, address in nodes.items()
    }
    allowed = "a folder that every node of the cluster sees under this path"
    ready, silent = ray.wait(list(answers), num_returns=len(answers), timeout=NODE_SECONDS)
    missing = [answers[reference] for reference in silent]
    for reference in ready:
        try:
            missing += [] if ray.get(reference) else [answers[reference]]
        except ray.exceptions.RayError as error:
            hint = f"Node {answers[reference]} answered: {in_one_line(error)[:200]}"
            raise InvalidValue("out", str(token.parent), allowed, hint) from error
    if missing:
        raise InvalidValue("out", str(token.parent), allowed, f"Not seen by {', '.join(missing)}")


def _sees(token: tuple[str, str]) -> bool:
    """Return whether this node sees the token's file."""
    path, content = token
    try:
        return Path(path).read_text(encoding="utf-8") == content
    except OSError:
        return False


def _carry_out(key: str, task: Task, item: Any, token: tuple[str, str]) -> Ended:
    if not _sees(token):  # a node that came later
        return Ended(key, "failed", f"a node does not see the folder {Path(token[0]).parent}")
    return carry_out(key, task, item)
