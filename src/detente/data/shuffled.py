"""Batches of any form in random order."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import torch
from torch import Tensor
from torch.utils._pytree import tree_flatten, tree_unflatten

POOL = 2**25  # numbers that are kept at a time, 128 MiB in float32


class Shuffled:
    """An iterable of batches with shuffled samples: it reads a pool of batches and yields its samples in random order.

    A pass that fits into the pool is shuffled as a whole; a longer one in parts. Entries that are not tensors with
    one row per sample stay with their batch. The order is drawn from torch's global generator.

    Args:
        source: an iterable of batches that can start again, such as a DataLoader.
        pool: maximum number of elements in the pool; it holds at least two batches.

    Source: the shuffle buffer of `torch.utils.data.datapipes` and `tf.data.Dataset.shuffle`.
    """

    def __init__(self, source: Iterable[Any], pool: int = POOL) -> None:
        self.source, self.pool = source, pool

    def __iter__(self) -> Iterator[Any]:
        batches: list[Any] = []
        numbers = 0
        for batch in self.source:
            batches.append(batch)
            numbers += sum(x.numel() for x in tree_flatten(batch)[0] if isinstance(x, Tensor))
            if numbers >= self.pool and len(batches) > 1:
                yield from _mixed(batches)
                batches, numbers = [], 0
        yield from _mixed(batches)


def _mixed(batches: list[Any]) -> Iterator[Any]:
    """Yield batches of the same sizes with their samples in random order; those of another form stay as they are."""
    flat = [tree_flatten(batch) for batch in batches]
    if not flat:
        return
    leaves, form = flat[0]
    rows = [_count(batch_leaves) for batch_leaves, _ in flat]
    same_form = all(other == form for _, other in flat) and None not in rows
    sizes = [count for count in rows if count is not None]
    columns = [
        index
        for index, leaf in enumerate(leaves)
        if same_form
        and all(_has_rows(batch_leaves[index], count) for (batch_leaves, _), count in zip(flat, sizes, strict=True))
    ]
    order = torch.randperm(sum(sizes))
    mixed = {
        index: torch.cat([batch_leaves[index] for batch_leaves, _ in flat])[order].split(sizes) for index in columns
    }
    for number, (batch_leaves, structure) in enumerate(flat):
        values = [mixed[index][number] if index in mixed else leaf for index, leaf in enumerate(batch_leaves)]
        yield tree_unflatten(values, structure)


def _count(leaves: list[Any]) -> int | None:
    """Return the number of samples of a batch: the length of its first tensor that has one."""
    return next((len(x) for x in leaves if isinstance(x, Tensor) and x.dim() > 0), None)


def _has_rows(leaf: Any, count: int) -> bool:
    return isinstance(leaf, Tensor) and leaf.dim() > 0 and len(leaf) == count
