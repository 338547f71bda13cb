"""Lookahead: matrix powers on the bilinear game, where gradients alone diverge; nesting; what it leaves alone."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from detente import methods
from detente.errors import InvalidValue
from detente.fields.gradient import Gradient
from detente.game import Game
from detente.games.adversarial import Adversarial
from detente.games.dirac_gan import DiracGAN
from detente.games.quadratic import Bilinear
from detente.methods.method import Method
from detente.networks.mlp import MLP
from detente.optimizers.adam import Adam
from detente.optimizers.optimistic_adam import OptimisticAdam
from detente.optimizers.sgd import SGD
from detente.schemes.accept_reject import AcceptReject
from detente.schemes.alternating import Alternating
from detente.schemes.averaging import Averaging
from detente.schemes.base import Scheme
from detente.schemes.extragradient import Extragradient
from detente.schemes.lookahead import Lookahead
from detente.schemes.simultaneous import Simultaneous
from detente.state import State
from detente.training.step import Steps, draw

RATE = 0.3
START = np.array([1.0, -0.5])
SIMULTANEOUS = np.array([[1, -RATE], [RATE, 1]])
ALTERNATING = np.array([[1, -RATE], [0, 1]]) @ np.array([[1, 0], [RATE, 1]])  # y ← y + ηx, then x ← x − ηy


def walk(game: Game, method: Method, steps: int, seed: int = 0) -> list[State]:
    generator = torch.Generator().manual_seed(seed)
    states = [method.initial(game, generator)]
    for _ in range(steps):
        drawn = draw(game, method, states[-1], generator)
        states.append(method.step(game, states[-1], drawn.batches, drawn.noise)[0])
    return states


def point(vectors: dict[str, Tensor]) -> np.ndarray:
    return torch.cat([vectors["x"], vectors["y"]]).numpy()


def same(first: object, second: object, tolerance: float = 0.0) -> None:
    torch.testing.assert_close(first, second, rtol=tolerance, atol=tolerance)


def pulled(matrix: np.ndarray, every: int, step: float) -> np.ndarray:
    """Return the matrix of `every` steps and a synchronisation: (1 − α) I + α Mᵏ."""
    return (1 - step) * np.eye(len(matrix)) + step * np.linalg.matrix_power(matrix, every)


@pytest.mark.parametrize(
    ("inner", "matrix"), [(Simultaneous(), SIMULTANEOUS), (Alternating(), ALTERNATING)], ids=["simultaneous", "alt"]
)
def test_steps_on_the_bilinear_game_equal_the_closed_form(inner: Scheme, matrix: np.ndarray) -> None:
    """Simultaneous gradients diverge by √(1 + η²) per step; with the paper's k = 6 and α = ½ they converge."""
    game = Bilinear(start=START.tolist())
    states = walk(game, Method(Gradient(), Lookahead(inner, 6, 0.5), SGD(RATE)), 60)
    whole = pulled(matrix, 6, 0.5)
    for steps in (5, 6, 7, 12, 59, 60):
        expected = np.linalg.matrix_power(matrix, steps % 6) @ np.linalg.matrix_power(whole, steps // 6) @ START
        np.testing.assert_allclose(point(states[steps].vectors), expected, rtol=1e-9)
        slow = np.linalg.matrix_power(whole, steps // 6) @ START
        np.testing.assert_allclose(point(states[steps].memory["scheme"]["slow"]), slow, rtol=1e-9)
    radii = [np.abs(np.linalg.eigvals(m)).max() for m in (SIMULTANEOUS, pulled(SIMULTANEOUS, 6, 0.5))]
    assert radii[0] == pytest.approx(np.sqrt(1 + RATE**2)) and radii[1] < 0.75
    assert np.linalg.norm(point(states[60].vectors)) < 0.1
    free = walk(game, Method(Gradient(), inner, SGD(RATE)), 60)[-1]
    assert np.linalg.norm(point(free.vectors)) > 0.5


def test_nested_lookahead_equals_the_closed_form() -> None:
    """The slower weights see the synchronised ones: (1 − α) I + α ((1 − α) I + α Mᵏ)^(k₂/k), and all become equal."""
    method = Method(Gradient(), Lookahead(Simultaneous(), 3, 0.4, nested_every=6), SGD(RATE))
    states = walk(Bilinear(start=START.tolist()), method, 15)
    once = pulled(SIMULTANEOUS, 3, 0.4)
    nested = pulled(once, 2, 0.4)
    expected = {3: once, 5: SIMULTANEOUS @ SIMULTANEOUS @ once, 6: nested, 9: once @ nested, 12: nested @ nested}
    for steps, matrix in expected.items():
        np.testing.assert_allclose(point(states[steps].vectors), matrix @ START, rtol=1e-10)
    twelve = states[12].memory["scheme"]
    same(twelve["slow"], states[12].vectors)
    same(twelve["slower"], states[12].vectors)
    np.testing.assert_allclose(point(states[15].memory["scheme"]["slower"]), nested @ nested @ START, rtol=1e-10)


def test_a_step_of_one_or_no_synchronisation_yet_changes_nothing() -> None:
    game, plain = DiracGAN(), Method(Gradient(), Alternating(), Adam(0.05))
    expected = walk(game, plain, 7)
    for scheme in (Lookahead(Alternating(), 3, 1.0), Lookahead(Alternating(), 8, 0.5), Lookahead(Alternating(), 1, 1)):
        for actual, other in zip(walk(game, replace(plain, scheme=scheme), 7), expected, strict=True):
            same(actual.vectors, other.vectors, 1e-14)


def test_synchronisation_keeps_moments_and_buffers() -> None:
    """At a synchronisation only weights move: what Adam and BatchNorm remember is what the plain step left."""
    with torch.random.fork_rng():
        torch.manual_seed(1)
        generator = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.ReLU(), nn.Linear(4, 2)).double()
        discriminator = MLP(2, 1, 8, 1).double()
    game = Adversarial(generator, discriminator, torch.randn(16, 2, generator=torch.Generator()), 3, batch=4)
    free = walk(game, Method(Gradient(), Alternating(), Adam(0.05)), 3)
    synchronised = walk(game, Method(Gradient(), Lookahead(Alternating(), 3, 0.5), Adam(0.05)), 3)
    same(synchronised[2].vectors, free[2].vectors)
    same(synchronised[3].memory["optimizers"], free[3].memory["optimizers"])
    same(synchronised[3].buffers, free[3].buffers)
    middle = {name: (free[0].vectors[name] + free[3].vectors[name]) / 2 for name in game.players}
    same(synchronised[3].vectors, middle, 1e-14)
    assert not torch.equal(synchronised[3].vectors["discriminator"], free[3].vectors["discriminator"])


NESTS: dict[str, Scheme] = {
    "averaged": Averaging(Lookahead(Alternating(), 2), decay=0.5),
    "around averaging": Lookahead(Averaging(Extragradient(), kind="uniform"), 2, nested_every=4),
    "around accept-reject": Lookahead(AcceptReject(2, accept_anyway=0.5, spread=0.1, patience=8), 3),
}


@pytest.mark.parametrize("name", NESTS)
def test_nested_schemes_can_be_resumed_mapped_and_donated(name: str) -> None:
    """20 steps are 10 and 10 from a flat dictionary, the mapped step is the step, and donate states may be reused."""
    game, method = DiracGAN(), Method(Gradient(), NESTS[name], OptimisticAdam(0.05))
    whole = walk(game, method, 20)
    generator = torch.Generator().manual_seed(0)
    state = method.initial(game, generator)
    draws = []
    for step in range(20):
        if step == 10:
            stored = {key: tensor.clone() for key, tensor in state.flat().items()}
            state = State.from_flat(stored, method.initial(game, torch.Generator()))
        draws.append(draw(game, method, state, generator))
        state, _ = method.step(game, state, draws[-1].batches, draws[-1].noise)
    same(state.flat(), whole[-1].flat())
    for how in ({"mapped": True}, {}):
        steps = Steps(game, method, **how)
        final, _ = steps([whole[0]] * 2, [draws] * 2)
        same(final[1].flat(), whole[-1].flat(), 1e-12)
        assert steps.fallback_reason == ""
    donated = State.from_flat({key: tensor.clone() for key, tensor in whole[0].flat().items()}, whole[0])
    for drawn in draws:
        donated, _ = method.step(game, donated, drawn.batches, drawn.noise, donate=True)
    same(donated.flat(), whole[-1].flat())


def test_a_wrapper_has_the_properties_of_the_inner_scheme() -> None:
    players, field = ("generator", "discriminator"), Gradient()
    for inner in (Simultaneous(), Alternating(turns={"discriminator": 3}), Extragradient(), AcceptReject(30)):
        for outer in (Lookahead(inner), Averaging(inner)):
            assert outer.draws(players) == inner.draws(players)
            assert outer.gradient_evaluations(field, players) == inner.gradient_evaluations(field, players)
            assert (outer.allows_in_place, outer.traceable) == (inner.allows_in_place, inner.traceable)
    with pytest.raises(InvalidValue, match="maximizer"):
        Method(field, Lookahead(AcceptReject(maximizer="z")), SGD()).check(DiracGAN())


def test_the_published_methods() -> None:
    assert methods.lookahead().scheme == Lookahead(Alternating(), 5, 0.5)
    assert methods.lookahead().optimizer == Adam(2e-4, (0.0, 0.9))
    assert methods.lookahead(optimizer=SGD(0.1), discriminator_turns=5) == Method(
        Gradient(), Lookahead(Alternating(turns={"discriminator": 5}), 5, 0.5), SGD(0.1)
    )
    assert methods.nested_lookahead(2, 8).scheme == Lookahead(Alternating(), 2, 0.5, 8)
    with pytest.raises(InvalidValue, match="nested_every: got 7"):
        methods.nested_lookahead(2, 7)
