"""One training by several processes that torchrun starts: how they connect, agree, and detect a lost process.

Sums of the training itself are in `detente.ranks`. What is exchanged here goes over gloo, in its own groups.
"""

from __future__ import annotations

import os
import pickle
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor

from detente.errors import InvalidValue, RankError, require
from detente.ranks import BatchNorm, Ranks
from detente.ranks.shared_memory import disconnect
from detente.training.meeting import default_store, first_to_tell, meet

TIMEOUT = 1800.0  # seconds that a rank waits for the others' part of a step
PATIENCE = 7200.0  # seconds that it waits while rank 0 measures or writes
GRACE = 3.0  # seconds for the first process of a machine to print a mistake, before torchrun ends all
VARIABLES = ("RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")  # set by torchrun
Result = TypeVar("Result")
Error = TypeVar("Error", bound=BaseException)


def started_by_torchrun() -> bool:
    """Return whether torchrun, or something like it, started this process as one of several."""
    return dist.is_available() and all(name in os.environ for name in VARIABLES)


def restarted() -> bool:
    """Return whether torchrun has started this process again after a failure."""
    return int(os.environ.get("TORCHELASTIC_RESTART_COUNT", "0")) > 0


def launch() -> str:
    """Return the name of torchrun's job, which stays the same when processes restart; empty without a name."""
    name = os.environ.get("TORCHELASTIC_RUN_ID", "none")
    return "" if name == "none" else name


def joined(
    device: str | torch.device | None = None,
    timeout: float = TIMEOUT,
    batch_norm: BatchNorm = "whole",
    shard: bool = False,
    inexact: bool = False,
) -> Ranks | None:
    """Join the processes that torchrun has started, and return this one's rank; None if torchrun did not start it.

    Every process must call it. They use gloo for tensors on CPUs and NCCL for tensors on GPUs; each process takes the
    GPU of its number on the machine, which is "cuda" from then on.

    Args:
        device: "cpu" or "cuda". Default: "cuda" if every process of this machine has a GPU.
        timeout: seconds that a process waits for the others, at the start and in each step, > 0.
        batch_norm: as of `detente.ranks.Ranks`.
        shard: as of `detente.ranks.Ranks`.
        inexact: as of `detente.ranks.Ranks`.

    Raises:
        InvalidValue: there is no GPU for this process.
        RankError: not all processes connected within the timeout.
    """
    require(0 < timeout < float("inf"), "timeout", timeout, "a number of seconds > 0")
    if not started_by_torchrun():
        return None
    if not dist.is_initialized():
        count, rank = int(os.environ["WORLD_SIZE"]), int(os.environ["RANK"])
        gpu = _take_gpu(device)
        if count == 1:
            return Ranks(0, 1, batch_norm, shard, inexact)
        store, limit = meet(rank, count, timeout), timedelta(seconds=timeout)
        backend = "cpu:gloo,cuda:nccl" if gpu else "gloo"
        try:
            dist.init_process_group(backend, store=store, rank=rank, world_size=count, timeout=limit)
        except RuntimeError as error:
            raise RankError(f"rank {rank} of {count} cannot connect to the others: {_first_line(error)}") from error
    ranks = Ranks(dist.get_rank(), dist.get_world_size(), batch_norm, shard, inexact)
    if ranks.count > 1:
        _groups(timeout)
    return ranks


def leave(ranks: Ranks | None) -> None:
    """End the connection to the other processes, after a training that all have ended; waits for all."""
    if not alone(ranks) and dist.is_initialized():
        dist.barrier(group=_groups().short)
        _GROUPS.clear()
        disconnect()
        dist.destroy_process_group()


def alone(ranks: Ranks | None) -> bool:
    """Return whether this process trains without others."""
    return ranks is None or ranks.count == 1


def require_device(device: str) -> None:
    """Raise `InvalidValue` unless every rank of this machine can have its own device of this kind."""
    allowed = "'cpu', or 'cuda': each rank takes the GPU of its number on its machine"
    require(torch.device(device).index is None, "device", device, allowed)
    if torch.device(device).type == "cuda":
        _take_gpu(device)


def _take_gpu(device: str | torch.device | None) -> bool:
    """Make this process's GPU the current one; return whether there is one."""
    local, available = int(os.environ.get("LOCAL_RANK", os.environ.get("RANK", "0"))), torch.cuda.device_count()
    kind = None if device is None else torch.device(device).type
    local_count = int(os.environ.get("LOCAL_WORLD_SIZE", local + 1))
    if kind == "cuda":
        require(local_count <= available, "device", str(device), f"a GPU for each of {local_count} ranks on a machine")
    if kind not in (None, "cuda") or local_count > available:
        return False
    torch.cuda.set_device(local)
    return True


@dataclass(frozen=True)
class _Groups:
    """Groups of all ranks for what is agreed: with a short timeout, and with a long one while one rank works alone."""

    short: Any
    long: Any


_GROUPS: dict[Any, _Groups] = {}


def _groups(timeout: float = TIMEOUT) -> _Groups:
    world = dist.group.WORLD
    if world not in _GROUPS:
        long = max(timeout, PATIENCE)
        _GROUPS[world] = _Groups(
            *(dist.new_group(backend="gloo", timeout=timedelta(seconds=s)) for s in (timeout, long))
        )
    return _GROUPS[world]


def everywhere(function: Callable[[], Result], ranks: Ranks | None) -> Result:
    """Return what a function returns on this rank, once it has succeeded on all; an error of one is raised by all."""
    if alone(ranks):
        return function()
    result, error = _attempt(function)
    errors: list[BaseException | None] = [None] * _count(ranks)
    dist.all_gather_object(errors, error, group=_groups().long)
    assert ranks is not None
    errors[ranks.rank] = error  # with its traceback
    _raise_first(errors)
    return result  # pyright: ignore[reportReturnType]


def by_first(function: Callable[[], Result], ranks: Ranks | None, *, share: bool = True) -> Result:
    """Return what a function returns on rank 0, which alone calls it; an error is raised by all ranks.

    Args:
        function: the function.
        ranks: the ranks.
        share: whether the other ranks get the result, which must then be picklable; otherwise they get None.
    """
    if alone(ranks):
        return function()
    assert ranks is not None
    result, error = _attempt(function) if ranks.rank == 0 else (None, None)
    message: list[Any] = [(result if share else None, error)]
    dist.broadcast_object_list(message, src=0, group=_groups().long)
    _raise_first([message[0][1]])
    return result if ranks.rank == 0 else message[0][0]  # pyright: ignore[reportReturnType]


def everyones(value: Result, ranks: Ranks | None) -> list[Result]:
    """Return every rank's value, which must be picklable."""
    values: list[Any] = [value] * _count(ranks)
    if not alone(ranks):
        dist.all_gather_object(values, value, group=_groups().short)
    return values


def exchanged(numbers: list[float], ranks: Ranks | None) -> list[list[float]]:
    """Return every rank's numbers."""
    if alone(ranks):
        return [numbers]
    encoded = torch.tensor(numbers, dtype=torch.float64)
    return [tensor.tolist() for tensor in _all(encoded, ranks)]


@torch.no_grad()
def of_first(tensors: Mapping[str, Tensor], ranks: Ranks | None) -> dict[str, Tensor]:
    """Return rank 0's tensors on every rank, each on the device of this rank's tensor."""
    if alone(ranks):
        return dict(tensors)
    received = {}
    for name, tensor in tensors.items():
        content = tensor.cpu().clone(memory_format=torch.contiguous_format)
        dist.broadcast(content.reshape(-1).view(torch.uint8), src=0, group=_groups().long)
        received[name] = content.to(tensor.device)
    return received


def require_alike(tensors: Mapping[str, Tensor], ranks: Ranks | None, when: str) -> None:
    """Raise `RankError` on all ranks if a tensor has other bits on one of them; the error names both.

    Args:
        tensors: the tensors by name, the same names on every rank.
        ranks: the ranks.
        when: when that was, e.g. "at step 40".
    """
    if alone(ranks):
        return
    sums = torch.stack(_all(torch.stack([checksum(tensor) for tensor in tensors.values()]).cpu(), ranks))
    usual = sums.mode(0).values if len(sums) > 2 else sums[0]
    for rank, different in enumerate(sums != usual):
        if bool(different.any()):
            name = list(tensors)[int(different.int().argmax())]
            others = "rank 0" if len(sums) == 2 else "the other ranks"
            hint = "Their data, code or versions differ, a method draws different random numbers, or a device fails"
            raise agreed(RankError(f"rank {rank} differs from {others} in {name} {when}. {hint}"))


@torch.no_grad()
def checksum(tensor: Tensor) -> Tensor:
    """Return a checksum of a tensor's bits, int64, (); it does not depend on the order of summation.

    Σ_i b_i (31 + 1 + i mod 8191) modulo 2⁶⁴, where b_i are the bits of element i as an integer.
    """
    integers = {1: torch.uint8, 2: torch.int16, 4: torch.int32, 8: torch.int64}
    bits = tensor.contiguous().reshape(-1)
    bits = torch.view_as_real(bits).reshape(-1) if bits.is_complex() else bits
    bits = bits.view(integers[bits.element_size()])
    total, weights = torch.zeros((), dtype=torch.int64, device=bits.device), None
    for part in bits.split(8191 * 256):
        if weights is None:
            weights = (torch.arange(len(part), device=bits.device) % 8191) + 32
        total = total + (part.to(torch.int64) * weights[: len(part)]).sum()
    return total


@contextmanager
def naming_lost_ranks(ranks: Ranks | None) -> Iterator[None]:
    """Raise `RankError`, in one line, where a message fails because another rank has ended or does not answer."""
    try:
        yield
    except (RuntimeError, InvalidValue) as error:
        cause = _failed_message(error)
        if alone(ranks) or cause is None or isinstance(error, RankError):
            raise
        text = str(cause)
        if "imed out" in text or "imeout" in text:
            what = "waited too long for another rank, which hangs, is too slow, or takes different steps"
        else:
            what = "lost the connection to another rank, which has ended"
        assert ranks is not None
        hint = "Saved checkpoints are complete; `torchrun --max-restarts N` continues from the last"
        raise RankError(f"rank {ranks.rank} of {ranks.count} {what}. {hint}") from error


def is_agreed(error: BaseException) -> bool:
    """Return whether all ranks have raised this error, or the one that caused it, at the same point."""
    cause: BaseException | None = error
    while cause is not None and not getattr(cause, "_on_all_ranks", False):
        cause = cause.__cause__
    return cause is not None


def tells(error: BaseException) -> bool:
    """Return whether this process is the one that prints an error: rank 0, or the first process with this error.

    Where rank 0 prints it, the others wait for `announce_printed`: torchrun ends all processes when one has ended.
    """
    if int(os.environ.get("WORLD_SIZE", "1")) == 1 or not started_by_torchrun():
        return True
    if is_agreed(error):
        if int(os.environ["RANK"]) > 0:
            with suppress(RuntimeError):
                default_store().wait([_PRINTED], timedelta(seconds=5))
        return int(os.environ["RANK"]) == 0
    if not dist.is_initialized():  # all make the same mistake
        if isinstance(error, RankError) or int(os.environ.get("LOCAL_RANK", os.environ["RANK"])) == 0:
            return True
        time.sleep(GRACE)
        return False
    with suppress(RuntimeError):
        return first_to_tell()
    return True  # the store is gone with the process that was lost


def announce_printed() -> None:
    """Let the other ranks end, after this one has printed an error."""
    if dist.is_initialized():
        with suppress(RuntimeError):
            default_store().set(_PRINTED, "")


_PRINTED = "printed"


def agreed(error: Error) -> Error:
    """Return an error, marked as one that all ranks raise at the same point."""
    error._on_all_ranks = True  # pyright: ignore[reportAttributeAccessIssue]
    return error


def _attempt(function: Callable[[], Result]) -> tuple[Result | None, BaseException | None]:
    try:
        return function(), None
    except (Exception, KeyboardInterrupt) as error:
        if _failed_message(error) is not None:  # the others cannot be informed
            raise
        return None, _portable(error)


def _portable(error: BaseException) -> BaseException:
    """Return an error that can be sent to other ranks."""
    try:
        pickle.loads(pickle.dumps(error))
    except Exception:
        if isinstance(error, InvalidValue):
            return InvalidValue(error.field, _Shown(repr(error.value)), error.allowed, error.hint)
        return RuntimeError(f"{type(error).__name__}: {_first_line(error)}")
    return error


class _Shown:
    """A value that is only shown."""

    def __init__(self, text: str) -> None:
        self.text = text

    def __repr__(self) -> str:
        return self.text


def _raise_first(errors: list[BaseException | None]) -> None:
    for error in errors:
        if error is not None:
            raise agreed(error)


def _all(tensor: Tensor, ranks: Ranks | None) -> list[Tensor]:
    parts = [torch.empty_like(tensor) for _ in range(_count(ranks))]
    dist.all_gather(parts, tensor, group=_groups().short)
    return parts


def _count(ranks: Ranks | None) -> int:
    return 1 if ranks is None else ranks.count


def _failed_message(error: BaseException | None) -> BaseException | None:
    """Return the error of torch.distributed that caused an error, or None."""
    while error is not None:
        if isinstance(error, dist.DistError) or (isinstance(error, RuntimeError) and "gloo" in str(error)):
            return error
        error = error.__cause__ or error.__context__
    return None


def _first_line(error: BaseException) -> str:
    return str(error).strip().partition("\n")[0] or type(error).__name__
