"""Messages between ranks of one machine, through shared memory: the sums of gloo, and errors that name the cause."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from itertools import combinations
from typing import Any

import pytest
import torch
import torch.distributed as dist
from torch import Tensor

from detente.ranks import (
    Ranks,
    gathered,
    mean_over_ranks,
    of_parts,
    shared_memory,
    sum_over_ranks,
    together,
)
from detente.ranks.shared_memory import CAPACITY, Neighbours, neighbours
from tests.ranks.job import Result

SIZES = (0, 1, 7, CAPACITY // 8, CAPACITY // 4 + 3, CAPACITY + 1)
DTYPES = (torch.float32, torch.float64, torch.bfloat16, torch.int64)


def numbers(rank: int, size: int, dtype: torch.dtype) -> Tensor:
    return torch.randn(size, generator=torch.Generator().manual_seed(rank)).mul(9).to(dtype)


def rows(rank: int, count: int, size: int) -> list[list[Tensor]]:
    """Return what one rank has for each: a vector of its own and one that all get."""
    everyones = numbers(rank, 3, torch.float32)
    return [[numbers(7 * rank + other, size, torch.float32), everyones] for other in range(count)]


def as_gloo(ranks: Ranks) -> Result:
    """Sums and gathers of random numbers in shared memory, against those of torch.distributed."""
    near = neighbours()
    assert near is not None
    answers = []
    for size in SIZES:
        for dtype in DTYPES:
            local = numbers(ranks.rank, size, dtype)
            expected, result = local.clone(), near.summed([local])
            dist.all_reduce(expected)
            of_ranks = [torch.empty_like(local) for _ in range(ranks.count)]
            dist.all_gather(of_ranks, local)
            answers.append(torch.equal(result, expected) and torch.equal(near.gathered(local), torch.stack(of_ranks)))
    return {"equal": answers}


def without(ranks: Ranks) -> Result:
    """The same sums where ranks do not have memory in common, as on several machines."""
    local, known = numbers(ranks.rank, 100, torch.float64).requires_grad_(), list(shared_memory._KNOWN)

    def results() -> list[Tensor]:
        with together(ranks):
            total, of_ranks = sum_over_ranks(local), gathered(local, ranks)
        (gradient,) = torch.autograd.grad(total.sin().sum() + of_ranks.cos().sum(), local)
        with together(replace(ranks, shard=True)):
            part, mean = mean_over_ranks([local, local[:3].half()], divided=(0,))
            whole = of_parts(part, len(local))
        return [total.detach(), of_ranks.detach(), gradient, part, mean, whole]

    near = results()
    shared_memory._KNOWN[:] = [(dist.group.WORLD, None)]
    far = results()
    shared_memory._KNOWN[:] = known
    equal = [torch.equal(*pair) for pair in zip(near, far, strict=True)]
    return {"equal": [*equal, torch.equal(near[-1] * ranks.count, near[0])], "part": len(near[3])}


def functions() -> dict[str, Callable[[Ranks], Result]]:
    return {"as_gloo": as_gloo, "without": without}


def test_sums_equal_gloo(results: dict[str, Result]) -> None:
    assert results["as_gloo"].get("equal") == [True] * len(SIZES) * len(DTYPES), results["as_gloo"]
    assert results["without"].get("equal") == [True] * 7, results["without"]
    assert results["without"]["part"] == 36  # rank 1 has what is beyond a multiple of 64


@contextmanager
def in_threads(count: int, timeout: float = 20.0) -> Iterator[list[Neighbours]]:
    """Yield ranks that are threads of this process."""
    memory = torch.zeros(2, count, CAPACITY, dtype=torch.uint8)
    peers: list[dict[int, socket.socket]] = [{} for _ in range(count)]
    for first, second in combinations(range(count), 2):
        peers[first][second], peers[second][first] = socket.socketpair()
    ranks = [Neighbours(r, [peers[r][other] for other in sorted(peers[r])], memory, timeout) for r in range(count)]
    yield ranks
    for near in ranks:
        near.close()


def on_all(ranks: list[Neighbours], action: Callable[[Neighbours], Any]) -> list[Any]:
    with ThreadPoolExecutor(len(ranks)) as threads:
        return list(threads.map(action, ranks))


@pytest.mark.parametrize("count", [3, 5])
def test_several_ranks_sum_in_rank_order(count: int) -> None:
    with in_threads(count) as ranks:
        for size in (1, 1000, CAPACITY // 2):
            expected = numbers(0, size, torch.float32)
            for rank in range(1, count):
                expected = expected + numbers(rank, size, torch.float32)
            for _ in range(3):  # both buffers, and the first one again
                sums = on_all(ranks, lambda near, n=size: near.summed([numbers(near.rank, n, torch.float32)]))
                assert all(torch.equal(total, expected) for total in sums)
            for rank, row in enumerate(
                on_all(ranks, lambda near, n=size: near.scattered(rows(near.rank, count, n), 4))
            ):
                total = sum(
                    (torch.cat(rows(other, count, size)[rank]) for other in range(count)), start=torch.zeros(())
                )
                assert torch.equal(row, total / 4)
        gathered_rows = on_all(ranks, lambda near: near.gathered(torch.tensor(float(near.rank))))
    assert all(of_ranks.tolist() == list(range(count)) for of_ranks in gathered_rows)


def test_ranks_that_end_or_hang_or_diverge_in_their_calls_raise_an_error() -> None:
    with in_threads(2, timeout=0.05) as (first, second):
        with pytest.raises(dist.DistNetworkError, match="timed out"):
            first.gathered(torch.zeros(3))
        second.close()
        with pytest.raises(dist.DistNetworkError, match="connection to another rank"):
            first.gathered(torch.zeros(3))
    with in_threads(2) as pair, pytest.raises(dist.DistNetworkError, match="takes different steps"):
        on_all(pair, lambda near: near.gathered(torch.zeros(3 + near.rank)))
