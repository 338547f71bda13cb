"""Tests of `ShuffledBatches`."""

from collections.abc import Callable
from typing import Any

import torch
from torch.utils.data import DataLoader, TensorDataset

from detente import Networks
from detente.cures.shuffled_batches import ShuffledBatches
from detente.games.gan import gan_of

Make = Callable[..., Any]
SORTED = torch.linspace(-3, 3, 512)[:, None].expand(-1, 2) + 0.01 * torch.randn(
    512, 2, generator=torch.Generator().manual_seed(0)
)


def _game(game: Make, shuffle: bool) -> Networks:
    own = game("networks")
    losses = own.arguments["losses"]
    loader = DataLoader(TensorDataset(SORTED), batch_size=16, shuffle=shuffle)
    return own.changed(losses=lambda net, batch: losses(net, {"real": batch[0]}), data=loader)


def test_sorted_batches_are_mixed(case: Make, game: Make, trains: Make) -> None:
    ill = case("sampling", game=_game(game, shuffle=False))
    changed, _ = trains(ill, ShuffledBatches()(ill))
    generator = torch.Generator().manual_seed(0)
    assert float(ill.game.draw(generator)["0"].std()) < 0.1
    assert float(changed.draw(generator)["0"].std()) > 1


def test_it_applies_to_sorted_batches_only(case: Make, game: Make) -> None:
    assert ShuffledBatches()(case("sampling", game=_game(game, shuffle=True))) is None
    assert ShuffledBatches()(case("sampling", game=game())) is None
    assert ShuffledBatches()(case("collapse", game=_game(game, shuffle=False))) is None


def test_measurements_see_the_whole_set(game: Make) -> None:
    real = gan_of(_game(game, shuffle=False)).real(64, torch.Generator().manual_seed(0))
    assert float(real.std()) > 1
