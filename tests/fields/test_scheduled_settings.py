"""Schedules in fields and schemes: each step is that of the constant which the schedule has there."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from detente import methods
from detente.errors import InvalidValue
from detente.fields.adaptive_competitive import AdaptiveCompetitive
from detente.fields.base import Field
from detente.fields.competitive import Competitive
from detente.fields.consensus import Consensus
from detente.fields.covariance import Covariance
from detente.fields.debiased_consensus import DebiasedConsensus
from detente.fields.follow_the_ridge import FollowTheRidge
from detente.fields.gradient import Gradient
from detente.fields.smoothing import Smoothing
from detente.fields.symplectic import Symplectic
from detente.fields.unrolled import Unrolled
from detente.game import Game
from detente.games.adversarial import Adversarial
from detente.games.dirac_gan import DiracGAN
from detente.methods.method import Method
from detente.networks.mlp import MLP
from detente.optimizers.sgd import SGD
from detente.schedules import Linear, Piecewise, Schedule
from detente.schemes.accept_reject import AcceptReject
from detente.schemes.averaging import Averaging
from detente.schemes.base import Scheme
from detente.schemes.lookahead import Lookahead
from detente.schemes.restarting import Restarting
from detente.schemes.simultaneous import Simultaneous
from detente.state import State
from detente.training.step import Steps, draw

FIELDS: dict[str, tuple[Callable[..., Field], float, float]] = {
    "consensus": (Consensus, 0.1, 2.0),
    "debiased_consensus": (DebiasedConsensus, 0.1, 2.0),
    "smoothing": (Smoothing, 0.1, 2.0),
    "symplectic": (lambda s: Symplectic(s, align=False), 0.1, 2.0),
    "symplectic aligned": (Symplectic, 0.1, 2.0),
    "competitive": (Competitive, 0.1, 0.5),
    "adaptive_competitive": (AdaptiveCompetitive, 0.1, 0.5),
    "follow_the_ridge ratio": (FollowTheRidge, 1.0, 3.0),
    "follow_the_ridge damping": (lambda s: FollowTheRidge(damping=s), 0.5, 3.0),
    "unrolled": (lambda s: Unrolled(3, s, "gradient"), 0.05, 0.5),
    "unrolled adam": (lambda s: Unrolled(3, s), 0.05, 0.5),
    "covariance prior": (lambda s: Covariance(prior=s), 0.1, 0.9),
}
SCHEMES: dict[str, tuple[Callable[..., Scheme], float, float]] = {
    "averaging": (lambda s: Averaging(Simultaneous(), decay=s), 0.5, 0.9),
    "lookahead": (lambda s: Lookahead(Simultaneous(), 2, s), 0.5, 0.2),
    "nested lookahead": (lambda s: Lookahead(Simultaneous(), 1, s, 2), 0.5, 0.2),
    "restarting": (lambda s: Restarting(Simultaneous(), s), 0.1, 0.9),
    "accept_reject decrease": (lambda s: AcceptReject(1, decrease=s), 10.0, 0.0),
    "accept_reject tolerance": (lambda s: AcceptReject(3, tolerance=s), 0.01, 10.0),
    "accept_reject spread": (lambda s: AcceptReject(2, spread=s), 0.1, 0.5),
}
CASES = [*((name, *case) for name, case in FIELDS.items()), *((name, *case) for name, case in SCHEMES.items())]
CHANGE = 2


def gan() -> Game:
    with torch.random.fork_rng():
        torch.manual_seed(1)
        generator, discriminator = MLP(3, 2, 4, 1, "tanh").double(), MLP(2, 1, 4, 1, "tanh").double()
    data = torch.randn(16, 2, generator=torch.Generator().manual_seed(0))
    return Adversarial(generator, discriminator, data, 3, "minimax", batch=8)


def method(make: Callable[..., Field | Scheme], setting: float | Schedule) -> Method:
    part = make(setting)
    if isinstance(part, Field):
        return Method(part, Simultaneous(), SGD(0.1))
    return Method(Gradient(), part, {"generator": SGD(1.0), "discriminator": SGD(0.001)})


@pytest.mark.parametrize(("name", "make", "first", "last"), CASES, ids=[case[0] for case in CASES])
def test_each_step_equals_that_of_the_current_constant(
    name: str, make: Callable[..., Field], first: float, last: float
) -> None:
    game, schedule = gan(), Piecewise((first, last), (CHANGE,))
    scheduled, constants = method(make, schedule), (method(make, first), method(make, last))
    generator = torch.Generator().manual_seed(0)
    state, changes = scheduled.initial(game, generator), 0
    for t in range(4):
        constant, other = constants if t < CHANGE else constants[::-1]
        drawn = draw(game, scheduled, state, generator)
        expected, _ = constant.step(game, state, drawn.batches, drawn.noise)
        different, _ = other.step(game, state, drawn.batches, drawn.noise)
        state, _ = scheduled.step(game, state, drawn.batches, drawn.noise)
        torch.testing.assert_close(state.flat(), expected.flat(), rtol=1e-12, atol=1e-14)
        changes += not same(different, expected)
    assert changes or name == "restarting", "the constants make a difference"


def same(first: State, second: State) -> bool:
    return all(
        torch.allclose(a, b, rtol=1e-9, atol=1e-12)
        for a, b in zip(first.flat().values(), second.flat().values(), strict=True)
    )


def test_restarts_have_the_probability_of_the_step() -> None:
    never_then_always = Restarting(Simultaneous(), Piecewise((0.0, 1.0), (CHANGE,)))
    game = gan()
    run = Method(Gradient(), never_then_always, SGD(0.1))
    generator = torch.Generator().manual_seed(0)
    state = run.initial(game, generator)
    for t in range(4):
        restarted = never_then_always.restart(state, generator)
        assert same(restarted, state) == (t < CHANGE or t == 0)
        drawn = draw(game, run, state, generator)
        state, _ = run.step(game, state, drawn.batches)


@pytest.mark.parametrize("make", [methods.consensus, methods.smoothing, methods.symplectic_adjustment])
def test_a_scheduled_strength_is_traced_and_mapped(
    make: Callable[..., Method], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("detente.training.inductor.compile_graph", lambda graph, example: graph)
    game, run = DiracGAN(), make(Linear(0.1, 2.0, 3), optimizer=SGD(0.1))
    generator = torch.Generator().manual_seed(0)
    states = [run.initial(game, generator) for _ in range(2)]
    draws = [[draw(game, run, state, generator) for _ in range(2)] for state in states]

    def after(**how: bool) -> list[dict[str, Tensor]]:
        steps = Steps(game, run, chunk=2, **how)
        result = [state.flat() for state in steps(states, draws)[0]]
        assert not steps.fallback_reason
        return result

    eager = after()
    for how in ({"mapped": True}, {"compiled": True}):
        torch.testing.assert_close(after(**how), eager, rtol=1e-9, atol=1e-12)


def test_an_unevaluated_schedule_is_an_error_that_names_the_setting() -> None:
    game, field = gan(), Consensus(Linear(0.1, 2.0, 3))
    vectors, buffers = game.initial(torch.Generator())
    batch = game.draw(torch.Generator().manual_seed(0))
    with pytest.raises(InvalidValue, match=r"strength: .*call `.at\(t\)` first"):
        field(game, vectors, buffers, batch, {}, game.players)


@pytest.mark.parametrize("make", [Consensus, Smoothing, Symplectic, DebiasedConsensus, Competitive, FollowTheRidge])
def test_negative_numbers_are_refused(make: Callable[..., Field]) -> None:
    with pytest.raises(InvalidValue, match="got -1"):
        make(-1.0)
