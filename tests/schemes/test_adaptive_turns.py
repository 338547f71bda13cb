"""Adaptive turns: against a loop with torch.optim that skips a player's step, and alternating without thresholds."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn.functional import softplus

from detente import methods
from detente.errors import InvalidValue
from detente.fields.gradient import Gradient
from detente.games.adversarial import Adversarial
from detente.games.quadratic import Bilinear
from detente.methods.method import Method
from detente.networks.mlp import MLP
from detente.optimizers.adam import Adam
from detente.schedules.linear import Linear
from detente.schemes.adaptive_turns import AdaptiveTurns
from detente.schemes.alternating import Alternating
from detente.training.step import draw


def gan() -> Adversarial:
    with torch.random.fork_rng():
        torch.manual_seed(1)
        modules = MLP(3, 2, 4, 1).double(), MLP(2, 1, 4, 1).double()
    points = 2 + torch.randn(16, 2, generator=torch.Generator().manual_seed(0))
    return Adversarial(*modules, points, 3, batch=8)


def method(**settings: Any) -> Method:
    return Method(Gradient(), AdaptiveTurns(**settings), Adam(0.02))


def test_steps_equal_a_loop_that_skips_turns() -> None:
    """Both players wait while they are ahead, in some steps and not in others."""
    thresholds = {"discriminator": Linear(2.0, 0.0, 40), "generator": Linear(0.0, 2.0, 40)}  # the losses are between
    game, play = gan(), method(thresholds=thresholds)
    generator, state = torch.Generator().manual_seed(0), play.initial(game, torch.Generator().manual_seed(0))
    networks: dict[str, nn.Module] = {"generator": MLP(3, 2, 4, 1).double(), "discriminator": MLP(2, 1, 4, 1).double()}
    game.write(state, networks["generator"], networks["discriminator"])
    optimizers = {n: torch.optim.Adam(m.parameters(), 0.02, (0.5, 0.999), eps=1e-8) for n, m in networks.items()}
    play = replace(play, optimizer=Adam(0.02, (0.5, 0.999), epsilon=1e-8))
    moved: dict[str, list[float]] = {name: [] for name in networks}
    for step in range(40):
        drawn = draw(game, play, state, generator)
        state, info = play.step(game, state, drawn.batches, drawn.noise)
        for name, batch in zip(("discriminator", "generator"), drawn.batches, strict=True):
            threshold = 2.0 * step / 40 if name == "generator" else 2.0 - 2.0 * step / 40
            fake = networks["discriminator"](networks["generator"](batch["latent"].double())).flatten()
            real = networks["discriminator"](batch["real"].double()).flatten()
            loss = softplus(-fake).mean() if name == "generator" else softplus(-real).mean() + softplus(fake).mean()
            torch.testing.assert_close(info.losses[name], loss.detach())
            optimizers[name].zero_grad()
            loss.backward()
            if loss >= threshold:
                optimizers[name].step()
            moved[name].append(float(loss >= threshold))
            assert info.extra[f"moved.{name}"] == moved[name][-1]
    for name, module in networks.items():
        vector = nn.utils.parameters_to_vector(module.parameters()).detach()
        torch.testing.assert_close(state.vectors[name], vector, rtol=1e-8, atol=1e-10)
        assert 0 < sum(moved[name]) < 40, "this test skips and moves"


@pytest.mark.parametrize("thresholds", [{}, {"discriminator": -1.0, "generator": Linear(-1.0, -2.0, 3)}])
def test_without_thresholds_steps_equal_alternating_ones(thresholds: Any) -> None:
    game, final = gan(), []
    for scheme in (AdaptiveTurns(thresholds), Alternating()):
        play, generator = Method(Gradient(), scheme, Adam(0.02)), torch.Generator().manual_seed(0)
        state = play.initial(game, generator)
        for _ in range(3):
            drawn = draw(game, play, state, generator)
            state, _ = play.step(game, state, drawn.batches, drawn.noise)
        final.append(state.flat())
    torch.testing.assert_close(final[0], final[1], rtol=0, atol=0)


def test_a_threshold_on_a_schedule_and_a_loss_that_is_not_finite() -> None:
    game, play = Bilinear(start=(1.0, 1.0)), Method(Gradient(), AdaptiveTurns({"x": Linear(3.0, -3.0, 2)}), Adam(0.1))
    state = play.initial(game, torch.Generator())
    for expected in (0.0, 1.0):  # the losses lie within ±2, the threshold at 3 and then at 0
        state, info = play.step(game, state, ({}, {}))
        assert info.extra["moved.x"] == expected
    broken = replace(state, vectors={name: vector * float("nan") for name, vector in state.vectors.items()})
    assert play.step(game, broken, ({}, {}))[1].extra["moved.x"] == 1.0, "failures stay visible"


def test_invalid_thresholds_and_the_published_method() -> None:
    with pytest.raises(InvalidValue, match=r"^thresholds: got \{'z': 1.0\}; allowed: players among x, y"):
        method(thresholds={"z": 1.0}).check(Bilinear())
    with pytest.raises(InvalidValue, match="^thresholds.x: got nan"):
        AdaptiveTurns({"x": float("nan")})
    built = methods.adaptive_turns(0.5, learning_rate=0.1)
    assert built == Method(Gradient(), AdaptiveTurns({"discriminator": 0.5}), Adam(0.1))
