"""`detente diagnose` names faults of the set-up, and is silent about a healthy one."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from detente import Adversarial, Game, methods
from detente.diagnostics.base import DiagnosticContext
from detente.diagnostics.set_up import SetUp
from detente.games.presets.points import ring
from detente.games.quadratic import Bilinear


def lines(game: Game) -> list[str]:
    generator, method = torch.Generator().manual_seed(0), methods.alternating()
    context = DiagnosticContext(game, method, method.initial(game, generator), generator, batches=2, count=2)
    return list(SetUp()(context).lines)


@pytest.mark.filterwarnings("ignore:data scale")  # as the set-up deserves
def test_a_fault_is_named_and_a_healthy_set_up_is_not_mentioned() -> None:
    far = 400 + torch.randn(1000, 2, generator=torch.Generator().manual_seed(0))
    (line,) = lines(Adversarial(nn.Linear(4, 2), nn.Linear(2, 1), far, latent=4))
    assert line.startswith("Set-up, data scale: The data's mean, 400")
    assert lines(ring()) == []
    assert lines(Bilinear(2)) == []  # without networks
