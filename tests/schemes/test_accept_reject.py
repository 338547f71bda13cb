"""Accept–reject: against a hand-written loop, what a rejection restores, who is accepted, and the seed's figures."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from detente import methods
from detente.errors import InvalidValue
from detente.fields.gradient import Gradient
from detente.game import Batch, Game
from detente.games.adversarial import Adversarial
from detente.games.dirac_gan import DiracGAN
from detente.games.low_dimensional import LowDimensional
from detente.games.quadratic import Quadratic
from detente.methods.method import Method
from detente.networks.mlp import MLP
from detente.optimizers.adam import Adam
from detente.optimizers.momentum import Momentum
from detente.optimizers.sgd import SGD
from detente.schedules import Annealed, Exponential, Schedule
from detente.schemes.accept_reject import AcceptReject
from detente.schemes.simultaneous import Simultaneous
from detente.state import Info, State
from detente.training.step import Steps, draw
from tests.gradient_count import counted_gradients

RATE, MU = 0.1, 0.5
FAR = 1e9  # a decrease that no proposal reaches


def walk(game: Game, method: Method, steps: int, seed: int = 0) -> tuple[list[State], list[Info]]:
    """Return the states, the first one included, and the infos of a training."""
    generator = torch.Generator().manual_seed(seed)
    states, infos = [method.initial(game, generator)], []
    for _ in range(steps):
        drawn = draw(game, method, states[-1], generator)
        state, info = method.step(game, states[-1], drawn.batches, drawn.noise)
        states.append(state)
        infos.append(info)
    return states, infos


def point(state: State) -> np.ndarray:
    return torch.cat([state.vectors["x"], state.vectors["y"]]).numpy()


def numbers(infos: list[Info], name: str) -> np.ndarray:
    return np.array([float(info.extra[name]) for info in infos])


def gan(objective: str = "minimax", **settings: Any) -> Adversarial:
    """Return a GAN with BatchNorm and three batches' worth of data."""
    with torch.random.fork_rng():
        torch.manual_seed(1)
        generator = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.ReLU(), nn.Linear(4, 2)).double()
        discriminator = MLP(2, 1, 8, 1).double()
    points = torch.randn(12, 2, generator=torch.Generator().manual_seed(0))
    return Adversarial(generator, discriminator, points, 3, objective, batch=4, **settings)


def later(method: Method, game: Game, generator: torch.Generator, t: int = 1) -> State:
    """Return an initial state at a later step than the first, whose proposal is always accepted."""
    return replace(method.initial(game, generator), t=torch.tensor(t))


def same(first: object, second: object, tolerance: float = 0.0) -> None:
    torch.testing.assert_close(first, second, rtol=tolerance, atol=tolerance)


# ---- By hand -------------------------------------------------------------------------------------------------------

A, B, C = np.array([[0.5, 0.2], [0.2, -0.3]]), np.array([[1.0], [-0.4]]), np.array([[0.6]])
GAME = Quadratic(torch.tensor(A), torch.tensor(B), torch.tensor(C), start=(1.0, -0.5, 0.7))


def by_hand(steps: int, ascents: int, decrease: float, every: int | None) -> tuple[np.ndarray, list[bool]]:
    """Return the path of accept–reject with heavy-ball moves, by whole copies of everything that moves."""

    def value(s: dict[str, np.ndarray]) -> float:
        return float(0.5 * s["x"] @ A @ s["x"] + s["x"] @ B @ s["y"] - 0.5 * s["y"] @ C @ s["y"])

    s = {"x": np.array([1.0, -0.5]), "y": np.array([0.7]), "mx": np.zeros(2), "my": np.zeros(1)}
    path, accepted = [], []
    for i in range(steps):
        new = copy.deepcopy(s)
        new["mx"] = MU * new["mx"] + A @ new["x"] + B @ new["y"]
        new["x"] = new["x"] - RATE * new["mx"]
        for _ in range(ascents):
            new["my"] = MU * new["my"] + (B.T @ new["x"] - C @ new["y"])
            new["y"] = new["y"] + RATE * new["my"]
        rejected = value(new) >= value(s) - decrease and i > 0 and (every is None or i % every != 0)
        s = s if rejected else new
        accepted.append(not rejected)
        path.append(np.concatenate([s["x"], s["y"]]))
    return np.stack(path), accepted


@pytest.mark.parametrize(("ascents", "decrease", "every"), [(1, 0.0, None), (3, 0.0, 3), (3, 0.01, 2)])
def test_steps_equal_a_hand_written_loop(ascents: int, decrease: float, every: int | None) -> None:
    scheme = AcceptReject(ascents, decrease=decrease, accept_every=every)
    states, infos = walk(GAME, Method(Gradient(), scheme, Momentum(RATE, MU)), 40)
    path, accepted = by_hand(40, ascents, decrease, every)
    np.testing.assert_allclose(np.stack([point(state) for state in states[1:]]), path, rtol=1e-12, atol=1e-14)
    assert numbers(infos, "accepted").astype(bool).tolist() == accepted
    assert True in accepted and False in accepted


def test_the_first_proposal_is_accepted_and_the_threshold_is_exact() -> None:
    """Rejected iff f_new ≥ f_old − δ, at δ just below and at the decrease itself."""
    small = Quadratic(((2.0,),), ((0.0,),), ((1.0,),), start=(1.0, 0.0))  # f = x² − ½y², which y = 0 has answered
    generator = torch.Generator()
    for decrease, expected in ((0.0, 1.0), (0.1899, 1.0), (0.1901, 0.0), (FAR, 0.0)):
        method = Method(Gradient(), AcceptReject(1, decrease=decrease), SGD(0.05))
        after, info = method.step(small, later(method, small, generator), ({},) * method.draws(small))
        assert float(info.extra["accepted"]) == expected
        assert float(info.extra["value"]) == pytest.approx(1) and float(info.extra["proposed_value"]) == 0.81
        assert float(after.vectors["x"]) == (0.9 if expected else 1.0)
        _, info = method.step(small, method.initial(small, generator), ({},) * method.draws(small))
        assert float(info.extra["accepted"]) == 1, "at step 0"


def test_the_max_player_may_be_the_first() -> None:
    """Minimising over y what is maximised over x is the same game with names changed."""
    mirrored = Quadratic(torch.tensor(C), -torch.tensor(B.T), torch.tensor(A), start=(0.7, 1.0, -0.5))
    states, infos = walk(GAME, Method(Gradient(), AcceptReject(2), SGD(RATE)), 20)
    others, other_infos = walk(mirrored, Method(Gradient(), AcceptReject(2, maximizer="x"), SGD(RATE)), 20)
    assert 0 < numbers(infos, "accepted").sum() < 20
    same(numbers(infos, "value"), numbers(other_infos, "value"), 1e-12)
    same(states[-1].vectors["x"], others[-1].vectors["y"], 1e-12)


# ---- Rejection, and the batches ------------------------------------------------------------------------------------


@pytest.mark.parametrize("mapped", [False, True], ids=["eager", "mapped"])
def test_rejection_restores_everything(mapped: bool) -> None:
    game = gan()
    method = Method(Gradient(), AcceptReject(2, decrease=FAR), Adam(0.01))
    generator = torch.Generator().manual_seed(3)
    states = [method.initial(game, generator) for _ in range(2)]
    steps = Steps(game, method, mapped=mapped)
    states, _ = steps(states, [[draw(game, method, states[0], generator)] for _ in states])
    before = {name: tensor.clone() for name, tensor in states[0].flat().items()}
    assert float(before["memory/optimizers/generator/square"].sum()) > 0, "moments that could be lost"
    assert int(before["buffers/generator/1.num_batches_tracked"]) == 3, "the accepted proposal ran the generator"
    states, (info, _) = steps(states, [[draw(game, method, states[0], generator)] for _ in states])
    assert float(info.extra["accepted"]) == 0
    same(states[0].flat() | {"t": before["t"]}, before)
    assert int(states[0].t) == 2


def test_each_move_uses_its_own_batch_and_both_values_use_the_same_batches() -> None:
    game = gan("non_saturating")
    method = Method(Gradient(), AcceptReject(2, evaluation_batches=3, accept_every=1), SGD(0.1))
    generator = torch.Generator().manual_seed(3)
    before = method.initial(game, generator)
    batches = draw(game, method, before, generator).batches
    assert len(batches) == method.draws(game) == 6
    after, info = method.step(game, before, batches)

    def loss(vectors: dict[str, Tensor], batch: Batch) -> Tensor:
        return game.losses(vectors, before.buffers, batch, ("discriminator",))[0]["discriminator"]

    for name, state in (("value", before), ("proposed_value", after)):
        mean = torch.stack([loss(state.vectors, batch) for batch in batches[3:]]).mean()
        same(info.extra[name], -mean, 1e-14)
    other = draw(game, method, before, generator).batches
    for index in range(6):
        changed = tuple(other[i] if i == index else batch for i, batch in enumerate(batches))
        at, changed_info = method.step(game, before, changed)
        moved = [not torch.equal(at.vectors[name], after.vectors[name]) for name in game.players]
        assert moved == [index == 0, index < 3], index
        assert not torch.equal(changed_info.extra["proposed_value"], info.extra["proposed_value"])
        assert torch.equal(changed_info.extra["value"], info.extra["value"]) == (index < 3)


# ---- Accepted anyway -----------------------------------------------------------------------------------------------


def test_every_rth_proposal_is_always_accepted() -> None:
    method = Method(Gradient(), AcceptReject(1, decrease=FAR, accept_every=4), SGD(0.01))
    _, infos = walk(DiracGAN(), method, 10)
    assert numbers(infos, "accepted").tolist() == [1, 0, 0, 0, 1, 0, 0, 0, 1, 0]


@pytest.mark.parametrize(
    ("anyway", "formula"),
    [
        (0.3, lambda t: 0.3),
        (Exponential(1, float(np.exp(-1)), 3), lambda t: np.exp(-t / 3)),
        (Annealed(1.0, 4), lambda t: 1 / (1 + np.exp((t / 4) ** 2))),
    ],
    ids=["constant", "exponential", "slow"],
)
def test_the_rate_of_acceptance_is_the_probability(anyway: float | Schedule, formula: Callable[[int], float]) -> None:
    game, seeds, steps = DiracGAN(), 400, 6
    method = Method(Gradient(), AcceptReject(1, decrease=FAR, accept_anyway=anyway), SGD(0.01))
    generator = torch.Generator().manual_seed(0)
    start = method.initial(game, generator)
    draws = [[draw(game, method, start, generator) for _ in range(steps)] for _ in range(seeds)]
    _, infos = Steps(game, method, mapped=True)([start] * seeds, draws)
    rates = torch.stack([info.extra["accepted"] for info in infos]).mean(0).numpy()
    assert rates[0] == 1
    for t in range(1, steps):
        p = formula(t)
        assert abs(rates[t] - p) < 4 * np.sqrt(p * (1 - p) / seeds), t


def test_the_notebooks_temperature() -> None:
    for t in (0, 2000, 20_000):
        assert float(Annealed()(torch.tensor(t))) == pytest.approx(1 / (4 + np.exp((t / 20_000) ** 2)), rel=1e-6)
    assert float(Annealed()(torch.tensor(10**7))) == 0
    with pytest.raises(InvalidValue, match="steps: got 0"):
        Annealed(4, 0)
    with pytest.raises(InvalidValue, match="offset: got nan"):
        Annealed(float("nan"))


# ---- The figures of the blog post: f = xy on [−5, 5]² --------------------------------------------------------------


def test_gradients_cycle_where_accept_reject_converges() -> None:
    game = LowDimensional("xy")
    states, _ = walk(game, Method(Gradient(), Simultaneous(), SGD(0.1)), 600)
    path = np.stack([point(state) for state in states])[200:]
    assert np.linalg.norm(path, axis=1).min() > 3 and (np.diff(np.sign(path[:, 0])) != 0).sum() > 5
    for seed in range(2):
        method = Method(Gradient(), AcceptReject(200, 1e-3, spread=0.5), SGD(5.0))
        states, infos = walk(game, method, 80, seed)
        path = np.stack([point(state) for state in states])[1:]
        values, accepted = numbers(infos, "value"), numbers(infos, "accepted")
        assert abs(path[-1, 0]) < 0.05, "on the line x = 0 of global min-max points"
        assert (np.diff(values[1:]) <= 0).all(), "what is accepted never increases f"
        assert 2 <= accepted.sum() < 50
        assert np.ptp(path[-30:, 0]) < 0.05, "it stays"


def test_random_proposals_find_the_local_minmax_and_stop() -> None:
    """f1 = −3x² − y² + 4xy: max_y f = x² at y = 2x; what is left is what decreases by less than δ."""
    game = LowDimensional("f1")
    method = methods.random_proposal(learning_rate=0.3)
    states, infos = walk(game, method, 150)
    stopped = numbers(infos, "stopped")
    assert stopped[0] == 0 and stopped[-1] == 1 and (np.diff(stopped) >= 0).all()
    first = int(stopped.argmax())
    assert numbers(infos, "accepted")[first - 19 : first + 1].sum() == 0, "twenty rejections in a row"
    assert numbers(infos, "accepted")[first - 20] == 1
    x, y = point(states[-1])
    assert abs(x) < 0.3 and abs(y - 2 * x) < 1e-3
    assert {tuple(point(state)) for state in states[first + 1 :]} == {(x, y)}, "a stopped state moves no more"
    assert x**2 < numbers(infos, "value")[1] - 0.03 * (numbers(infos, "accepted").sum() - 1)


def test_the_ascent_ends_at_the_tolerance_and_at_the_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    game, counted = LowDimensional("f1"), counted_gradients(monkeypatch)
    method = Method(Gradient(), AcceptReject(100, 0.5), SGD(0.1))
    (_, after), (info,) = walk(game, method, 1)
    x, y, ascents = 5.5 - 0.1 * (-6 * 5.5 + 4 * 5.5), 5.5, 0
    while abs(4 * x - 2 * y) > 0.5:
        y, ascents = y + 0.1 * (4 * x - 2 * y), ascents + 1
    np.testing.assert_allclose(point(after), [x, y], rtol=1e-12)
    assert len(counted) == 1 + ascents + 1 < 20, "the last slope is the one that ends it"
    assert float(info.gradient_norm["y"]) == pytest.approx(abs(4 * x - 2 * y))

    counted.clear()
    (_, after), _ = walk(LowDimensional("xy", start=(4.0, 4.0)), method, 1)
    assert point(after).tolist() == [3.6, 5.0] and len(counted) == 1 + 3 + 1


# ---- Ways of carrying out ------------------------------------------------------------------------------------------

SETTINGS: dict[str, dict[str, Any]] = {
    "tolerance": {"ascent_steps": 4, "tolerance": 0.5},
    "random": {"ascent_steps": 4, "tolerance": 0.5, "spread": 0.5, "patience": 2, "decrease": 0.1},
    "anyway": {"ascent_steps": 2, "accept_anyway": Exponential(1, 0.5, 2), "accept_every": 3},
}


@pytest.mark.parametrize("how", ["mapped", "compiled"])
@pytest.mark.parametrize("name", SETTINGS)
def test_mapped_and_compiled_steps_equal_steps_with_branches(
    name: str, how: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("detente.training.inductor.compile_graph", lambda graph, example: graph)
    game = LowDimensional("f1", bound=8.0)
    method = Method(Gradient(), AcceptReject(**SETTINGS[name]), Momentum(0.3, 0.1))
    states, draws = [], []
    for seed in range(4):
        generator = torch.Generator().manual_seed(seed)
        state = method.initial(game, generator)
        states.append(replace(state, vectors={name: v - 1.5 * seed for name, v in state.vectors.items()}))
        draws.append([draw(game, method, state, generator) for _ in range(6)])
    states_masked, infos_masked = Steps(game, method, **{how: True})(states, draws)
    expected, infos = Steps(game, method)(states, draws)
    for actual, other in zip((*states_masked, *infos_masked), (*expected, *infos), strict=True):
        same(actual.tree(), other.tree(), 1e-10)
    accepted = torch.stack([info.extra["accepted"] for info in infos])
    assert 0 < float(accepted.mean()) < 1


def test_long_ascents_are_not_traced() -> None:
    assert AcceptReject(20).traceable and not AcceptReject(21).traceable


def test_resumed_training_equals_an_uninterrupted_one() -> None:
    game, method = DiracGAN(), methods.random_proposal(decrease=0.0, ascent_steps=5)
    whole, _ = walk(game, method, 20)
    generator = torch.Generator().manual_seed(0)
    state = method.initial(game, generator)
    for step in range(20):
        if step == 10:
            stored, random = {k: v.clone() for k, v in state.flat().items()}, generator.get_state()
            state = State.from_flat(stored, method.initial(game, torch.Generator()))
            generator = torch.Generator()
            generator.set_state(random)
        drawn = draw(game, method, state, generator)
        state, _ = method.step(game, state, drawn.batches, drawn.noise)
    same(state.flat(), whole[-1].flat())


def test_unsuitable_games_and_players_are_refused() -> None:
    with pytest.raises(InvalidValue, match="maximizer: got 'z'"):
        Method(Gradient(), AcceptReject(maximizer="z"), SGD()).check(DiracGAN())
    with pytest.raises(InvalidValue, match="accept_anyway: got 1.5"):
        AcceptReject(accept_anyway=1.5)
