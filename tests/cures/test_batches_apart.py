"""Tests of `BatchesApart`."""

from collections.abc import Callable
from typing import Any

import torch

from detente import Adversarial
from detente.cures.batches_apart import BatchesApart
from detente.objectives.non_saturating import NonSaturating

Make = Callable[..., Any]


def test_batches_apart(case: Make, game: Make, trains: Make) -> None:
    own = case("wiring", game=game("networks"))
    changed, _ = trains(own, BatchesApart()(own))
    assert isinstance(changed, Adversarial) and type(changed.objective) is NonSaturating
    assert changed.batch == 16 and changed.latent_shape == (3,)
    vectors = changed.initial(torch.Generator().manual_seed(0))[0]
    before = own.game.initial(torch.Generator().manual_seed(0))[0]
    assert torch.equal(vectors["discriminator"], before["judge"])
    assert BatchesApart()(case("wiring")) is None
