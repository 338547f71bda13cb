"""Ranks draw the batches of one process, and each reads its own rows only."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.utils.data import Dataset

from detente import methods
from detente.data.arrays import Arrays
from detente.errors import InvalidValue
from detente.game import EvaluationSettings, Game
from detente.games.adversarial import Adversarial
from detente.games.networks import Networks
from detente.modules.net import Net
from detente.penalties.gradient_penalty import GradientPenalty
from detente.ranks import Ranks
from detente.training.step import Draw, draw
from tests.training.small_runs import discriminator, generator, ring

SAMPLES = torch.randn(50, 2, generator=torch.Generator().manual_seed(5))


class Watched(Arrays):
    """Samples that record which of them are read."""

    read: tuple[int, ...] = ()

    def take(self, indices: Tensor) -> dict[str, Tensor]:
        """Note the indices."""
        object.__setattr__(self, "read", (*self.read, *indices.tolist()))
        return super().take(indices)


def stored() -> Game:
    return Adversarial(generator, discriminator, Watched(SAMPLES), latent=3, batch=12, penalties=(GradientPenalty(),))


class Items(Dataset):
    """Items with random transforms of three kinds, and text; it records which of them are read."""

    def __init__(self) -> None:
        self.read: list[int] = []

    def __len__(self) -> int:
        return len(SAMPLES)

    def __getitem__(self, index: int) -> dict[str, Any]:
        self.read.append(index)
        moved = SAMPLES[index] + torch.rand(2) * random.random() * np.random.rand()
        return {"real": moved, "latent": torch.randn(3), "number": index, "text": f"item {index}"}


def of_networks(data: Any = None) -> Game:
    players = {"generator": generator, "discriminator": discriminator}
    tensors = {"real": SAMPLES, "latent": SAMPLES @ torch.ones(2, 3), "number": torch.arange(50)}

    def losses(net: Net, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        fake, real = net.discriminator(net.generator(batch["latent"])), net.discriminator(batch["real"])
        return {"generator": -fake.mean(), "discriminator": (fake - real).mean()}

    return Networks(players, losses, tensors if data is None else data, 12)


def of_items() -> Game:
    return of_networks(Items())


def drawn(make: Callable[[], Game], ranks: Ranks | None, accumulate: int = 1) -> tuple[Draw, Tensor]:
    game, method = make().with_settings(EvaluationSettings(accumulate=accumulate)), methods.extragradient()
    generator = torch.Generator().manual_seed(0)
    state = method.initial(game, generator)
    return draw(game, method, state, generator, ranks), generator.get_state()


@pytest.mark.parametrize("make", [stored, of_networks, of_items, ring])
@pytest.mark.parametrize("accumulate", [1, 2])
def test_the_rows_of_all_ranks_form_the_batch_of_one_process(make: Callable[[], Game], accumulate: int) -> None:
    count = 2
    whole, position = drawn(make, None, accumulate)
    parts = [drawn(make, Ranks(rank, count), accumulate) for rank in range(count)]
    for index, batch in enumerate(whole.batches):
        for name, tensor in batch.items():
            for rank, (part, after) in enumerate(parts):
                rows = Ranks(rank, count).rows(len(tensor), accumulate)
                assert torch.equal(part.batches[index][name], tensor[rows]), name
                assert torch.equal(after, position)


def test_a_rank_reads_only_its_own_samples() -> None:
    game = stored()
    data = game.data  # pyright: ignore[reportAttributeAccessIssue]
    method, generator = methods.extragradient(), torch.Generator().manual_seed(0)
    state = method.initial(game, generator)
    object.__setattr__(data, "read", ())
    draw(game, method, state, generator, Ranks(1, 4))
    assert len(data.read) == 2 * 12 // 4  # of two batches


def test_a_rank_reads_only_its_own_items() -> None:
    items = Items()
    game, method, generator = of_networks(items), methods.extragradient(), torch.Generator().manual_seed(0)
    state = method.initial(game, generator)
    items.read.clear()
    draw(game, method, state, generator, Ranks(1, 4))
    assert len(items.read) == 2 * 12 // 4  # of two batches


def test_a_batch_that_cannot_be_divided_is_refused() -> None:
    with pytest.raises(InvalidValue, match="batch: got 12; allowed: a multiple of the number of ranks, 5"):
        drawn(stored, Ranks(0, 5))
