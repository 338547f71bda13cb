"""Whether batches are drawn from the whole set."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from detente.checks.base import Check, Finding, Setup

BATCHES, ITEMS = 6, 128
MOST, NUMBERS = 96, 2**21  # batches of a stream without items that are read, and numbers in them


@dataclass(frozen=True)
class DataOrder(Check):
    """A `DataLoader` or another stream that yields samples in sorted order: each batch contains one kind.

    The statistic is B ‖m − m₀‖² / Σ σ², for the mean m of a batch of B samples and the mean m₀ and variances σ² of
    items from all over the set. It is about 1 if batches are drawn at random.

    Args:
        excess: largest accepted mean of the statistic over some batches.

    Source: the analysis of variance: the variance of the mean of B independent samples is σ²/B.
    """

    calls_networks: ClassVar[bool] = False

    excess: float = 4.0

    def __call__(self, setup: Setup) -> Sequence[Finding]:
        """Return at most one finding."""
        batches = setup.game.batches
        source = getattr(batches, "source", None)
        if source is None or getattr(batches, "once", True):
            return []
        generator = torch.Generator().manual_seed(0)
        means, count, numbers = [], 0, 0
        first = setup.gan.batch(generator)[setup.gan.real_entry]
        every = self._items(source, first[0].numel())
        most = BATCHES if every is not None else MOST  # without items, more batches show what is in the set
        while len(means) < BATCHES or (len(means) < most and numbers < NUMBERS):
            real = setup.gan.batch(generator)[setup.gan.real_entry].double().flatten(1)  # as the items, in any units
            means, count, numbers = [*means, real], len(real), numbers + real.numel()
        every = torch.cat(means) if every is None else every
        means = means[:BATCHES]
        variance = float(every.var(0).sum())
        if count < 4 or variance == 0:
            return []
        statistic = sum(count * float((x.mean(0) - every.mean(0)).square().sum()) / variance for x in means) / BATCHES
        if statistic <= self.excess:
            return []
        evidence = (
            f"The means of the first {BATCHES} batches of {count} samples vary {statistic:.3g} times as much as at "
            "random: the data come in sorted order."
        )
        remedy = "Shuffle the data: DataLoader(…, shuffle=True), or changed(game, shuffle=True)."
        return [Finding("sampling", evidence, 0.85, remedy)]

    def _items(self, source: object, numbers: int) -> Tensor | None:
        """Return items from all over a `DataLoader`'s set, (count, numbers), or None if they have another form."""
        dataset = getattr(source, "dataset", None)
        if not (hasattr(dataset, "__getitem__") and hasattr(dataset, "__len__")):
            return None
        size, items = len(dataset), []  # type: ignore[arg-type]
        for index in torch.linspace(0, size - 1, min(ITEMS, size)).long().tolist():
            item = dataset[index]  # type: ignore[index]
            item = next(iter(item.values())) if isinstance(item, dict) else item
            item = item[0] if isinstance(item, tuple | list) else item
            items.append(torch.as_tensor(item).double().flatten())
        rows = torch.stack(items)
        return rows if rows.shape[1] == numbers else None
