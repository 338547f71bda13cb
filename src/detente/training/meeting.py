"""How processes that torchrun has started connect to each other, also after a restart."""

from __future__ import annotations

import os
import socket
import time
from datetime import timedelta
from typing import Any

import torch.distributed as dist
from torch.distributed import TCPStore  # pyright: ignore[reportPrivateImportUsage]
from torch.distributed.rendezvous import rendezvous

from detente.errors import RankError

POLL = 0.05  # seconds between two looks at torchrun's store
_LAUNCHERS: list[tuple[Any, str]] = []  # torchrun's store, and what marks this attempt in it


def meet(rank: int, count: int, timeout: float) -> Any:
    """Return a store of this attempt, to which all ranks are connected.

    torchrun keeps its own store when it restarts the ranks, with the addresses of processes that have died
    (github.com/pytorch/pytorch/issues/135712), so rank 0 opens a new one, and torchrun's only tells where.

    Args:
        rank: index of this process.
        count: number of processes.
        timeout: seconds to wait for the others.

    Raises:
        RankError: not all ranks have connected in time.
    """
    until, store, arrived = time.monotonic() + timeout, None, 1
    try:
        known, *_ = next(rendezvous("env://", timeout=timedelta(seconds=timeout)))
        store = _opened(known, timeout) if rank == 0 else _store_of_first(known, timeout, until)
        if store.add("came", 1) == count:
            store.set("all", "")
        store.wait(["all"], timedelta(seconds=max(0.1, until - time.monotonic())))
    except (RuntimeError, OSError, ValueError) as error:
        if store is not None:
            arrived = store.add("came", 0)
        where = f"{os.environ['MASTER_ADDR']}:{os.environ['MASTER_PORT']}"
        text = f"rank {rank} waited {timeout:g} s at {where} for {count} ranks, of which {arrived} connected"
        raise RankError(f"{text}. Start all of them, or set a longer --timeout") from error
    return store


def _opened(known: Any, timeout: float) -> Any:
    """Return a new store of this process, after telling its port in torchrun's store."""
    store = _store(0, True, timeout)
    known.set("detente/port", str(store.port))
    _LAUNCHERS[:] = [(known, str(store.port))]
    return store


def _store_of_first(known: Any, timeout: float, until: float) -> Any:
    """Return the store of rank 0; the port may be that of an earlier attempt, at which nobody answers."""
    while True:
        port = known.get("detente/port").decode()
        try:
            with socket.create_connection((os.environ["MASTER_ADDR"], int(port)), timeout=1):
                pass
            store = _store(int(port), False, timeout)
        except (OSError, RuntimeError):
            if time.monotonic() > until:
                raise
            time.sleep(POLL)
            continue
        _LAUNCHERS[:] = [(known, port)]
        return store


def _store(port: int, opens: bool, timeout: float) -> Any:
    host, limit = os.environ["MASTER_ADDR"], timedelta(seconds=timeout)
    return TCPStore(host, port, is_master=opens, wait_for_workers=False, timeout=limit)


def default_store() -> Any:
    """Return the store of the process group."""
    return dist.distributed_c10d._get_default_store()


def first_to_tell() -> bool:
    """Return whether this rank is the first that asks, in this attempt.

    Raises:
        RuntimeError: the store is gone with the process that was lost.
    """
    store, attempt = _LAUNCHERS[0] if _LAUNCHERS else (default_store(), "")
    return store.add(f"detente/{attempt}/errors", 1) == 1
