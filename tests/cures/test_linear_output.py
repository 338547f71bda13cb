"""Tests of `LinearOutput`."""

from collections.abc import Callable
from typing import Any

import torch
from torch import nn

from detente.cures.linear_output import LinearOutput
from detente.cures.plan import candidates, withheld

Make = Callable[..., Any]


def ends_in(*last: nn.Module) -> Callable[[], nn.Module]:
    return lambda: nn.Sequential(nn.Linear(3, 8), nn.ReLU(), nn.Linear(8, 2), *last)


def test_a_softmax_is_left_out(case: Make, game: Make, trains: Make) -> None:
    ill = case("data scale", game=game(generator=ends_in(nn.Softmax(1))))
    changed, _ = trains(ill, LinearOutput()(ill))
    sums = [made.modules["generator"](torch.randn(64, 3)).sum(1) for made in (ill.game, changed)]
    assert float(sums[0].detach().std()) < 1e-6 < 0.01 < float(sums[1].detach().std())
    assert LinearOutput()(case("collapse", game=ill.game)) is None
    assert LinearOutput()(case("data scale", game=game(generator=ends_in(nn.Tanh())))) is None
    assert all("last activation" not in title.lower() for title, _ in candidates(ill))
    assert LinearOutput.title in withheld(ill)
    assert all("last activation" in title.lower() for title, _ in candidates(ill, may_change_networks=True))
