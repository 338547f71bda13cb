"""Sums and gathers of plain tensors over ranks: in shared memory, by gloo, or on GPUs by NCCL.

On CPUs, all of them add in the order of the ranks, so a part of a vector has the same bits whether all of the vector is
summed, or each part on one rank only.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import torch
import torch.distributed as dist
from torch import Tensor

from detente.ranks.shared_memory import Neighbours, in_order, neighbours

SHORT = 2**14  # bytes of a vector for which one message to all is quicker than two with parts


@dataclass
class Messages:
    """What this process sent while it was counted; compiled steps count while they are traced, and not later.

    Args:
        calls: number of sums and gathers over ranks.
        bytes: size of the tensors that were sent.
    """

    calls: int = 0
    bytes: int = 0


_COUNTERS: list[Messages] = []


@contextmanager
def counting_messages() -> Iterator[Messages]:
    """Context that counts the messages of this process."""
    messages = Messages()
    _COUNTERS.append(messages)
    try:
        yield messages
    finally:
        _COUNTERS.remove(messages)


def count_message(numbers: int, like: Tensor) -> None:
    """Count a message of so many numbers of a tensor's dtype."""
    for messages in _COUNTERS:
        messages.calls += 1
        messages.bytes += numbers * like.element_size()


def summed(vectors: Sequence[Tensor], divisor: int = 1) -> Tensor:
    """Return the sum over ranks of vectors, (n_k,), of one dtype, one after the other, divided by an integer."""
    count_message(sum(map(len, vectors)), vectors[0])
    shared = _shared_memory(vectors[0])
    if shared is not None:
        return shared.summed(vectors, divisor)
    total = torch.cat([*vectors])
    if total.device.type == "cpu" and dist.get_world_size() > 2:
        total = _in_order_by_gloo(total, dist.get_world_size())
    else:
        dist.all_reduce(total)
    return total if divisor == 1 else total.div_(divisor)


def scattered(rows: Sequence[Sequence[Tensor]], divisor: int = 1) -> Tensor:
    """Return the sum over ranks of what each of them has for this one, divided by an integer.

    Args:
        rows: for each rank, vectors (n_k,) of one dtype, which have the same number of numbers for every rank.
        divisor: the integer.
    """
    length, like = sum(map(len, rows[0])), rows[0][0]
    count_message(length * (len(rows) - 1), like)
    shared = _shared_memory(like)
    if shared is not None:
        return shared.scattered(rows, divisor)
    sent = torch.cat([vector for row in rows for vector in row])
    if like.device.type == "cpu":
        of_ranks = torch.empty_like(sent)
        dist.all_to_all_single(of_ranks, sent)
        total = in_order(of_ranks.view(len(rows), length).unbind())
    else:
        total = sent.new_empty(length)
        dist.reduce_scatter_tensor(total, sent)
    return total if divisor == 1 else total.div_(divisor)


def gathered(tensor: Tensor, count: int) -> Tensor:
    """Return the tensor of each of `count` ranks, (ranks, …)."""
    count_message(tensor.numel(), tensor)
    shared = _shared_memory(tensor)
    if shared is not None:
        return shared.gathered(tensor)
    of_ranks = tensor.new_empty(count, *tensor.shape)
    dist.all_gather([*of_ranks.unbind()], tensor.contiguous())
    return of_ranks


def _in_order_by_gloo(vector: Tensor, count: int) -> Tensor:
    """Return the sum over ranks of a vector, added in their order: at once if it is short, else a part on each rank."""
    if vector.numel() * vector.element_size() <= SHORT:
        of_ranks = vector.new_empty(count, len(vector))
        dist.all_gather([*of_ranks.unbind()], vector)
        return in_order(of_ranks.unbind())
    length = -(-len(vector) // count)
    sent = torch.cat([vector, vector.new_zeros(count * length - len(vector))])
    of_ranks = torch.empty_like(sent)
    dist.all_to_all_single(of_ranks, sent)
    dist.all_gather([*sent.view(count, length).unbind()], in_order(of_ranks.view(count, length).unbind()))
    return sent[: len(vector)]


def _shared_memory(tensor: Tensor) -> Neighbours | None:
    return neighbours() if tensor.device.type == "cpu" else None
