"""Tests of `LinearScores`."""

from collections.abc import Callable
from typing import Any

import torch
from torch import nn

from detente.cures.linear_scores import LinearScores
from detente.cures.plan import withheld

Make = Callable[..., Any]


def judge(*last: nn.Module) -> nn.Module:
    return nn.Sequential(nn.Linear(2, 8), nn.LeakyReLU(), nn.Linear(8, 1), *last)


def test_a_last_layer_that_bounds_the_scores_is_left_out(case: Make, game: Make, trains: Make) -> None:
    for last in (nn.Softplus(), nn.Tanh(), nn.LayerNorm(1)):
        ill = case("wiring", game=game(discriminator=judge(last)))
        changed, _ = trains(ill, LinearScores()(ill))
        module = changed.modules["discriminator"]
        score = lambda x, net=module: net(x).detach()  # noqa: E731
        x, step = torch.full((1, 2), 1e4), torch.full((1, 2), 1e4)
        assert float((score(x + step) - score(x)).abs()) > 1  # without a bound, also far out
        assert LinearScores.title in withheld(ill)
    for healthy in (judge(), judge(nn.LeakyReLU())):
        assert LinearScores()(case("wiring", game=game(discriminator=healthy))) is None
    assert LinearScores()(case("collapse", game=game(discriminator=judge(nn.Tanh())))) is None
