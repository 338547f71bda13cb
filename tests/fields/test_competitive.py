"""Competitive gradients, plain and adaptive: dense solutions, warm starts, turns, cost and convergence."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.fx.experimental.proxy_tensor import make_fx
from torch.utils._pytree import tree_map

from detente import methods
from detente.autodiff import jacobian
from detente.errors import InvalidValue
from detente.fields.adaptive_competitive import AdaptiveCompetitive
from detente.fields.competitive import Competitive
from detente.game import Game, Vectors
from detente.games.dirac_gan import DiracGAN
from detente.games.quadratic import Bilinear, Quadratic
from detente.methods.method import Method
from detente.state import State, Tree
from tests.fields.small_games import Array, Three, counted, direction, gan, quadratic, stacked, start

FIELDS = [Competitive(0.3, 30, 1e-14), AdaptiveCompetitive(0.3, iterations=30, tolerance=1e-14)]
both = pytest.mark.parametrize("field", FIELDS, ids=lambda field: type(field).__name__)


@pytest.mark.parametrize("turn", [0, 1])
def test_direction_equals_the_papers_formula(turn: int) -> None:
    game, dense = quadratic()
    rate, field = 0.3, Competitive(0.3, 30, 1e-14)
    memory = field.initial(game, *start(game)[:2]) | {"turn": torch.tensor(turn)}
    v, w, memory = direction(field, game, 0, memory)
    assert memory["turn"] == 1 - turn
    d_xy = dense[:4, 4:]
    d_yx, slope_x, slope_y = d_xy.T, v[:4], -v[4:]  # of f, which y maximises
    x = np.linalg.solve(np.eye(4) + rate**2 * d_xy @ d_yx, slope_x + rate * d_xy @ slope_y)
    y = np.linalg.solve(np.eye(3) + rate**2 * d_yx @ d_xy, slope_y - rate * d_yx @ slope_x)
    np.testing.assert_allclose(w, np.concatenate([x, -y]), rtol=1e-10)


def test_direction_tends_to_the_gradient_for_small_rates() -> None:
    v, w, _ = direction(Competitive(1e-9), quadratic()[0])
    np.testing.assert_allclose(w, v, rtol=1e-6)


@pytest.mark.parametrize("iterations", [1, 2, 30])
def test_the_second_direction_solves_its_equation_given_an_inexact_first(iterations: int) -> None:
    """First the second player responds to the first's direction, then the roles are exchanged."""
    game, dense = quadratic()
    field, across = Competitive(0.3, iterations, 0.0), dense.copy()
    across[:4, :4] = across[4:, 4:] = 0.0
    memory = field.initial(game, *start(game)[:2])
    for answering in (slice(4, None), slice(None, 4)):
        v, w, memory = direction(field, game, 0, memory)
        np.testing.assert_allclose(w[answering], (v - 0.3 * across @ w)[answering], rtol=1e-10)


@both
def test_warm_starts_continue_from_the_last_solution(field: Competitive | AdaptiveCompetitive) -> None:
    """A residual that ignores the starting point (r = b) would not reach the solution of many iterations."""
    game, _ = quadratic()
    rough = replace(field, iterations=1, tolerance=0.0)
    if isinstance(rough, AdaptiveCompetitive):
        rough = replace(rough, decay=0.0)  # the same rates at every call
    exact = replace(rough, iterations=50)
    _, expected, _ = direction(exact, game)
    memory, errors = None, []
    for _ in range(150):
        _, w, memory = direction(rough, game, 0, memory)
        errors.append(np.linalg.norm(w - expected))
    assert errors[0] > 1e-2 * np.linalg.norm(expected)
    assert errors[-1] < 1e-9 * errors[0]


def test_bilinear_steps_shrink_by_the_known_factor_where_gradients_diverge() -> None:
    game, rate, sigma = Bilinear(3, scale=1.5), 0.4, 1.5
    lengths: dict[str, list[float]] = {}
    for name, play in {"cgd": methods.competitive(rate), "gda": methods.simultaneous("sgd", rate)}.items():
        state = play.initial(game, torch.Generator().manual_seed(0))
        lengths[name] = []
        for _ in range(50):
            lengths[name].append(float(torch.cat(list(state.vectors.values())).norm()))
            state, _ = play.step(game, state, ({},))
    known = np.sqrt(1 + (rate * sigma) ** 2)
    np.testing.assert_allclose(np.divide(lengths["cgd"][1:], lengths["cgd"][:-1]), 1 / known, rtol=1e-6)
    np.testing.assert_allclose(np.divide(lengths["gda"][1:], lengths["gda"][:-1]), known, rtol=1e-6)


def adaptive_by_hand(dense: Array, x: Array, n: int, rate: float, steps: int) -> Array:
    """Return where ACGD leads in a quadratic game, by dense solutions of both systems."""
    d_xy, square = dense[:n, n:], np.zeros(len(x))
    for t in range(1, steps + 1):
        v = dense @ x
        square = 0.99 * square + 0.01 * v**2
        rates = rate * np.sqrt(1 - 0.99**t) / (np.sqrt(square) + 1e-5)
        p_x, p_y = np.diag(rates[:n]), np.diag(rates[n:])
        a_x = np.eye(n) + np.sqrt(p_x) @ d_xy @ p_y @ d_xy.T @ np.sqrt(p_x)
        a_y = np.eye(len(x) - n) + np.sqrt(p_y) @ d_xy.T @ p_x @ d_xy @ np.sqrt(p_y)
        slope_x, slope_y = v[:n], -v[n:]
        x = x + np.concatenate(
            [
                -np.sqrt(p_x) @ np.linalg.solve(a_x, np.sqrt(p_x) @ (slope_x + d_xy @ p_y @ slope_y)),
                np.sqrt(p_y) @ np.linalg.solve(a_y, np.sqrt(p_y) @ (slope_y - d_xy.T @ p_x @ slope_x)),
            ]
        )
    return x


def test_adaptive_steps_equal_dense_solutions() -> None:
    game, dense = quadratic()
    play = methods.adaptive_competitive(0.1, iterations=30, tolerance=1e-14)
    state = play.initial(game, torch.Generator().manual_seed(0))
    expected = adaptive_by_hand(dense, stacked(state.vectors, game), 4, 0.1, 7)
    for _ in range(7):
        state, _ = play.step(game, state, ({},))
    np.testing.assert_allclose(stacked(state.vectors, game), expected, rtol=1e-9)


def test_direction_for_networks_equals_the_dense_jacobian_formula() -> None:
    game, rate = gan(), 0.5
    at = start(game)
    dense, n = jacobian(game, *at).numpy(), at[0]["generator"].numel()
    dense[:n, :n] = dense[n:, n:] = 0.0
    v, w, _ = direction(Competitive(rate, 60, 1e-13), game)
    np.testing.assert_allclose(w, np.linalg.solve(np.eye(len(v)) + rate * dense, v), rtol=1e-8, atol=1e-12)


@both
def test_declared_cost_is_an_upper_bound_and_exact_without_a_tolerance(
    field: Competitive | AdaptiveCompetitive, monkeypatch: pytest.MonkeyPatch
) -> None:
    game = gan()
    at = start(game)
    for tolerance in (0.0, 1e-2):
        variant = type(field)(0.5, iterations=5, tolerance=tolerance)
        memory = variant.initial(game, *at[:2])
        cost = counted(monkeypatch, lambda variant=variant, memory=memory: variant(game, *at, memory, game.players))
        bound = variant.gradient_evaluations(game.players, game.players)
        assert cost == bound if tolerance == 0 else cost < bound


@both
def test_traced_and_vmapped_equal_eager_in_both_turns(field: Competitive | AdaptiveCompetitive) -> None:
    game, _ = quadratic(n=2, m=1)
    field = replace(field, iterations=2)  # for y the second is not needed
    vectors, buffers, batch = start(game)

    def play(vectors: Vectors, memory: Tree) -> tuple[Vectors, dict[str, Tensor], Tree]:
        evaluation, after = field(game, vectors, buffers, batch, memory, game.players)
        return evaluation.field, evaluation.losses, after

    memory = field.initial(game, vectors, buffers)
    traced = make_fx(play)(vectors, memory)
    for _ in range(2):
        eager = play(vectors, memory)
        torch.testing.assert_close(traced(vectors, memory), eager, rtol=1e-10, atol=1e-12)
        batch_of_one = tree_map(lambda tensor: tensor.unsqueeze(0), (vectors, memory))
        mapped = tree_map(lambda tensor: tensor.squeeze(0), torch.func.vmap(play)(*batch_of_one))
        torch.testing.assert_close(mapped, eager, rtol=1e-10, atol=1e-12)
        memory = field.initial(game, vectors, buffers)
        (memory.get("local", memory))["turn"] += 1


@pytest.mark.parametrize("make", [methods.competitive, methods.adaptive_competitive])
def test_resumed_training_equals_an_uninterrupted_one(make: Callable[..., Method]) -> None:
    game, play = gan(), make(0.1, iterations=2)
    state = play.initial(game, torch.Generator().manual_seed(0))
    like, draws = state, torch.Generator().manual_seed(1)
    for step in range(6):
        state, _ = play.step(game, state, (game.draw(draws),))
        if step == 2:
            saved = {name: tensor.clone() for name, tensor in state.flat().items()}
    again, draws = State.from_flat(saved, like), torch.Generator().manual_seed(1)
    for step in range(6):
        batch = game.draw(draws)
        if step > 2:
            again, _ = play.step(game, again, (batch,))
    torch.testing.assert_close(again.flat(), state.flat(), rtol=0, atol=0)


@pytest.mark.parametrize("make", [methods.competitive, methods.adaptive_competitive])
@pytest.mark.parametrize(
    ("game", "message"),
    [
        (DiracGAN(), "game: got 'DiracGAN that is not zero-sum'; allowed: a zero-sum game"),
        (Quadratic(back=((1.0,),)), "game: got 'Quadratic that is not zero-sum'"),
        (Three(), "game: got 'Three with 3 players'; allowed: a game of two players"),
    ],
)
def test_unsuitable_games_are_refused(make: Callable[[], Method], game: Game, message: str) -> None:
    with pytest.raises(InvalidValue) as caught:
        make().initial(game, torch.Generator())
    assert str(caught.value).startswith(message)
