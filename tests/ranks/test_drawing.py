"""Ranks draw the batches of one process, and each reads its own rows only."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

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
    """Samples that note which of them are read."""

    read: tuple[int, ...] = ()

    def take(self, indices: Tensor) -> dict[str, Tensor]:
        """Note the indices."""
        object.__setattr__(self, "read", (*self.read, *indices.tolist()))
        return super().take(indices)


def stored() -> Game:
    return Adversarial(generator, discriminator, Watched(SAMPLES), latent=3, batch=12, penalties=(GradientPenalty(),))


def of_networks() -> Game:
    players = {"generator": generator, "discriminator": discriminator}
    tensors = {"real": SAMPLES, "latent": SAMPLES @ torch.ones(2, 3), "number": torch.arange(50)}

    def losses(net: Net, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        fake, real = net.discriminator(net.generator(batch["latent"])), net.discriminator(batch["real"])
        return {"generator": -fake.mean(), "discriminator": (fake - real).mean()}

    return Networks(players, losses, tensors, 12)


def drawn(make: Callable[[], Game], ranks: Ranks | None, accumulate: int = 1) -> tuple[Draw, Tensor]:
    game, method = make().with_settings(EvaluationSettings(accumulate=accumulate)), methods.extragradient()
    random = torch.Generator().manual_seed(0)
    state = method.initial(game, random)
    return draw(game, method, state, random, ranks), random.get_state()


@pytest.mark.parametrize("make", [stored, of_networks, ring])
@pytest.mark.parametrize("accumulate", [1, 2])
def test_rows_of_all_ranks_are_the_batch_of_one_process(make: Callable[[], Game], accumulate: int) -> None:
    count = 2
    whole, random = drawn(make, None, accumulate)
    parts = [drawn(make, Ranks(rank, count), accumulate) for rank in range(count)]
    for index, batch in enumerate(whole.batches):
        for name, tensor in batch.items():
            for rank, (part, after) in enumerate(parts):
                rows = Ranks(rank, count).rows(len(tensor), accumulate)
                assert torch.equal(part.batches[index][name], tensor[rows]), name
                assert torch.equal(after, random)


def test_a_rank_reads_only_its_own_samples() -> None:
    game = stored()
    data = game.data  # pyright: ignore[reportAttributeAccessIssue]
    method, random = methods.extragradient(), torch.Generator().manual_seed(0)
    state = method.initial(game, random)
    object.__setattr__(data, "read", ())
    draw(game, method, state, random, Ranks(1, 4))
    assert len(data.read) == 2 * 12 // 4  # of two batches


def test_a_batch_that_cannot_be_divided_is_refused() -> None:
    with pytest.raises(InvalidValue, match="batch: got 12; allowed: a multiple of the number of ranks, 5"):
        drawn(stored, Ranks(0, 5))
