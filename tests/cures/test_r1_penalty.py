"""Tests of `R1Penalty`."""

from collections.abc import Callable
from typing import Any

import pytest
import torch

from detente.cures.r1_penalty import R1Penalty
from detente.penalties.lazy import Lazy
from detente.penalties.r1 import R1

Make = Callable[..., Any]


def test_r1_penalty(case: Make, game: Make, trains: Make) -> None:
    ill = case("oscillation or limit cycle")
    changed, method = trains(ill, R1Penalty()(ill))
    assert changed.penalties == (Lazy(R1(ill.penalty_strength), 4),) and method is ill.method
    real = ill.game.data.take(torch.arange(256))["real"].double()
    assert ill.penalty_strength == pytest.approx(0.3 * float(real.var(0).sum()) / 2**0.5, rel=0.1)
    own = case("collapse", game=game("networks"))
    changed, _ = trains(own, R1Penalty()(own))
    vectors, buffers = changed.initial(torch.Generator().manual_seed(0))
    batch = changed.draw(torch.Generator().manual_seed(1))
    x = batch["real"].clone().requires_grad_()
    score = changed._net(vectors, buffers).judge(x)
    (slope,) = torch.autograd.grad(score.sum(), x)
    losses, _ = changed.losses(vectors, buffers, batch)
    expected = own.penalty_strength / 2 * slope.square().sum(1).mean()
    torch.testing.assert_close(losses["judge.R1"], expected)
    torch.testing.assert_close(losses["judge"], losses["judge.own"] + losses["judge.R1"])
