"""The lemmas of The Numerics of GANs, for détente's fields: v′ = −J in the descent convention."""

from __future__ import annotations

import itertools
from collections.abc import Callable

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.linalg import eigh
from torch import nn

from detente import methods
from detente.autodiff import jacobian, vector_field
from detente.diagnostics.step_size_bound import step_size_bound
from detente.errors import InvalidValue
from detente.fields.base import Field
from detente.fields.consensus import Consensus
from detente.fields.debiased_consensus import DebiasedConsensus
from detente.game import Batch, Game, Vectors
from detente.games.adversarial import Adversarial
from detente.games.dirac_gan import DiracGAN
from detente.games.quadratic import Bilinear, Quadratic
from detente.games.stochastic_bilinear import StochasticBilinear
from detente.methods.method import Method
from detente.networks.mlp import MLP
from detente.optimizers.sgd import SGD
from detente.penalties.r1 import R1
from detente.schemes.simultaneous import Simultaneous
from detente.training.step import Steps, draw

seeds = given(st.integers(0, 2**32 - 1))
few = settings(max_examples=30, deadline=None, derandomize=True)


def matrix_of(field: Field, game: Quadratic) -> np.ndarray:
    """Return a linear field's matrix, its columns the images of unit vectors."""
    columns = []
    for unit in torch.eye(game.n + game.m).double():
        at = {"x": unit[: game.n], "y": unit[game.n :]}
        evaluation, _ = field(game, at, {}, {}, {}, game.players)
        columns.append(torch.cat([evaluation.field[name] for name in game.players]).numpy())
    return np.stack(columns, axis=1)


def saddle(seed: int, strength: float = 1.0) -> Quadratic:
    """Return a random zero-sum game, convex in x and concave in y, without curvature where `strength` is 0."""
    random = np.random.default_rng(seed)
    n = int(random.integers(1, 4))
    a, c = (strength * (r @ r.T) for r in random.normal(size=(2, n, n)))
    own_x, coupling, own_y = (torch.tensor(m) for m in ((a + a.T) / 2, random.normal(size=(n, n)), (c + c.T) / 2))
    return Quadratic(own_x, coupling, own_y)


def dense(game: Quadratic) -> np.ndarray:
    vectors, _ = game.initial(torch.Generator().manual_seed(0))
    return jacobian(game, vectors, {}, {}).numpy()


@seeds
@few
def test_lemma_4_simultaneous_descent_contracts_exactly_below_the_bound(seed: int) -> None:
    game = saddle(seed)
    j = dense(game)
    bound = step_size_bound(torch.tensor(np.linalg.eigvals(j)))
    method = methods.simultaneous(optimizer=SGD(1.0))
    assert bound > 0

    def radius(h: float) -> float:
        return float(np.abs(np.linalg.eigvals(np.eye(len(j)) - h * matrix_of(method.field, game))).max())

    assert radius(bound * 0.999) < 1 < radius(bound * 1.001)


@seeds
@few
def test_lemma_7_consensus_is_definite_where_the_game_is_only_semidefinite(seed: int) -> None:
    game = saddle(seed, strength=0.0)  # purely rotating: all eigenvalues are imaginary
    gamma = float(np.random.default_rng(seed).uniform(0.1, 2))
    plain, consensus = dense(game), matrix_of(Consensus(gamma), game)
    np.testing.assert_allclose(plain + plain.T, 0, atol=1e-12)
    smallest = np.linalg.svd(plain, compute_uv=False).min()
    assert np.linalg.eigvalsh(consensus + consensus.T).min() >= 2 * gamma * smallest**2 * (1 - 1e-6) - 1e-10
    assert np.linalg.eigvals(consensus).real.min() > 0.9 * gamma * smallest**2


def quotient(matrix: np.ndarray) -> float:
    values = np.linalg.eigvals(matrix)
    return float(np.max(np.abs(values.imag) / np.abs(values.real)))


@seeds
@few
def test_lemma_9_corrected(seed: int) -> None:
    """Its bound is q ≤ 1/(c + 2ρ²γ/‖A − Aᵀ‖₂): the proof drops |v̄ᵀ(A − Aᵀ)v|, which is at most ‖A − Aᵀ‖₂."""
    game = saddle(seed)
    gamma = float(np.random.default_rng(seed).uniform(0, 2))
    a = -dense(game)
    rho = np.linalg.svd(a, compute_uv=False).min()
    skew, symmetric = 1j * (a - a.T), -(a + a.T)  # both Hermitian, and the second positive definite
    c = 1 / eigh(skew, symmetric, eigvals_only=True).max()
    bound = 1 / (c + 2 * rho**2 * gamma / np.linalg.norm(a - a.T, 2))
    assert quotient(matrix_of(Consensus(gamma), game)) <= bound * (1 + 1e-9)


@pytest.mark.parametrize("scale", [1.0, 10.0])
def test_lemma_9_as_printed_is_false(scale: float) -> None:
    """For A = [[0, s], [−s, 0]]: c = 0, ρ = s and q = 1/(γs), above the printed 1/(2s²γ) for s > ½."""
    actual = quotient(matrix_of(Consensus(1.0), Quadratic(coupling=[[scale]])))
    printed, corrected = 1 / (2 * scale**2), 1 / (2 * scale**2 / (2 * scale))
    assert actual == pytest.approx(corrected, rel=1e-12)
    assert actual > printed


@seeds
@few
def test_lemma_11_momentum_couples_eigenvalues_in_pairs(seed: int) -> None:
    """λ is an eigenvalue of G′ = [[0, I], [v′, −γI]] if and only if λ(λ + γ) is one of v′."""
    j = -dense(saddle(seed))
    gamma = float(np.random.default_rng(seed).uniform(0, 2))
    identity, zero = np.eye(len(j)), np.zeros_like(j)
    eigenvalues = np.linalg.eigvals(np.block([[zero, identity], [j, -gamma * identity]]))
    expected = np.concatenate([np.roots([1, gamma, -value]) for value in np.linalg.eigvals(j)])
    for value in eigenvalues:
        assert np.abs(expected - value).min() < 1e-6
    for value in expected:
        assert np.abs(eigenvalues - value).min() < 1e-6


# ---- Lemma 15: the bias of small batches -----------------------------------------------------------------------------


def half_square(game: Game, vectors: Vectors, batch: Batch) -> float:
    return 0.5 * sum(float(block.square().sum()) for block in vector_field(game, vectors, {}, batch).field.values())


def stacked(fields: list[Vectors]) -> torch.Tensor:
    return torch.stack([torch.cat(list(field.values())) for field in fields])


@pytest.mark.parametrize("batch", [1, 2, 3])
def test_lemma_15_the_bias_is_the_variance_over_twice_the_batch(batch: int) -> None:
    """Exactly, over all batches that can be drawn."""
    game = StochasticBilinear(4, batch=batch, seed=1)
    vectors, _ = game.initial(torch.Generator().manual_seed(0))
    single = stacked([vector_field(game, vectors, {}, part).field for part in game.parts(1)])
    (whole,) = game.parts(4)
    batches = itertools.product(range(4), repeat=batch)
    mean = np.mean([half_square(game, vectors, {"term": torch.tensor(indices)}) for indices in batches])
    variance = float((single - single.mean(0)).square().sum(1).mean())
    assert mean == pytest.approx(half_square(game, vectors, whole) + variance / (2 * batch), rel=1e-12)


def test_lemma_15_with_drawn_batches() -> None:
    game, generator = StochasticBilinear(6, batch=2, seed=2), torch.Generator().manual_seed(0)
    vectors, _ = game.initial(generator)
    single = stacked([vector_field(game, vectors, {}, part).field for part in game.parts(1)])
    (whole,) = game.parts(6)
    drawn = np.array([half_square(game, vectors, game.draw(generator)) for _ in range(1500)])
    bias = float((single - single.mean(0)).square().sum(1).mean()) / 4
    error = drawn.std() / len(drawn) ** 0.5
    assert abs(drawn.mean() - half_square(game, vectors, whole) - bias) < 4 * error
    assert bias > 8 * error, "enough draws to see it"


@pytest.mark.parametrize("batch", [2, 3])
def test_the_debiased_regulariser_is_unbiased_and_the_plain_one_is_not(batch: int) -> None:
    """Over all batches with replacement, exactly: the mean of w is v + γ ∇ ½‖v‖² of the whole set."""
    game, gamma = StochasticBilinear(3, batch=batch, seed=3), 0.7
    vectors, _ = game.initial(torch.Generator().manual_seed(0))
    (whole,) = game.parts(3)
    expected = stacked([Consensus(gamma)(game, vectors, {}, whole, {}, game.players)[0].field])[0]
    batches = [{"term": torch.tensor(indices)} for indices in itertools.product(range(3), repeat=batch)]

    def mean(field: Field) -> torch.Tensor:
        return stacked([field(game, vectors, {}, batch, {}, game.players)[0].field for batch in batches]).mean(0)

    torch.testing.assert_close(mean(DebiasedConsensus(gamma)), expected, rtol=1e-12, atol=1e-12)
    assert (mean(Consensus(gamma)) - expected).norm() > 0.05 * expected.norm()


def gan(batch: int = 6, **settings: object) -> Adversarial:
    points = torch.randn(12, 2, generator=torch.Generator().manual_seed(0))
    with torch.random.fork_rng():
        torch.manual_seed(1)
        parts = {"generator": MLP(3, 2, 4, 1, "tanh").double(), "discriminator": MLP(2, 1, 4, 1, "tanh").double()}
    return Adversarial(**{**parts, "data": points, "latent": 3, "batch": batch, **settings})  # type: ignore[arg-type]


@pytest.mark.parametrize("players", [("generator", "discriminator"), ("discriminator",)])
@pytest.mark.parametrize("settings", [{}, {"penalties": R1(1.0)}, {"objective": "hinge"}])
def test_the_debiased_field_is_the_gradient_of_the_mean_over_pairs(
    settings: dict[str, object], players: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    """∇ 1/(2B(B−1)) Σ_{i≠j} ⟨v_i, v_j⟩ by central differences, the samples' fields one by one."""
    game, gamma = gan(4, **settings), 3.0
    vectors, buffers = game.initial(generator := torch.Generator().manual_seed(0))
    batch = game.draw(generator)

    def estimate(at: Vectors) -> float:
        alone = [{name: tensor[i : i + 1] for name, tensor in batch.items()} for i in range(4)]
        v = stacked([vector_field(game, at, buffers, sample).field for sample in alone])
        gram = v @ v.T
        return float(gram.sum() - gram.trace()) / (2 * 4 * 3)

    evaluation, _ = DebiasedConsensus(gamma)(game, vectors, buffers, batch, {}, players)
    assert set(evaluation.field) == set(players)
    plain = vector_field(game, vectors, buffers, batch)
    for name in players:
        pull = (evaluation.field[name] - plain.field[name]) / gamma
        for index in range(0, len(pull), 5):
            step = torch.zeros_like(pull)
            step[index] = 1e-5
            values = [estimate({**vectors, name: vectors[name] + sign * step}) for sign in (1, -1)]
            assert float(pull[index]) == pytest.approx((values[0] - values[1]) / 2e-5, abs=1e-7, rel=1e-5)
    monkeypatch.setattr("detente.fields.debiased_consensus.NUMBERS_AT_ONCE", 3 * sum(map(len, vectors.values())))
    some, _ = DebiasedConsensus(gamma)(game, vectors, buffers, batch, {}, players)  # three samples, and then one
    torch.testing.assert_close(some.field, evaluation.field, rtol=1e-10, atol=1e-12)


def test_strength_zero_is_the_gradient() -> None:
    game = gan()
    vectors, buffers = game.initial(generator := torch.Generator().manual_seed(0))
    batch = game.draw(generator)
    evaluation, _ = DebiasedConsensus(0.0)(game, vectors, buffers, batch, {}, game.players)
    torch.testing.assert_close(evaluation.field, vector_field(game, vectors, buffers, batch).field, rtol=0, atol=0)


def normed(layer: Callable[[], nn.Module]) -> Adversarial:
    return gan(discriminator=nn.Sequential(nn.Linear(2, 4), layer(), nn.Linear(4, 1)).double())


@pytest.mark.parametrize(
    ("game", "reason"),
    [
        (Bilinear(2), "at least 2 samples"),
        (DiracGAN(), "at least 2 samples"),
        (StochasticBilinear(4, batch=1), "at least 2 samples"),
        (normed(lambda: nn.BatchNorm1d(4)), "BatchNorm|more than 1 value"),
        (normed(nn.Dropout), "mapped over samples"),
    ],
)
def test_games_without_independent_samples_are_refused(game: Game, reason: str) -> None:
    with pytest.raises(InvalidValue, match=reason) as caught:
        DebiasedConsensus().check(game)
    assert caught.value.field == "game"


def test_layers_that_treat_samples_independently_are_accepted() -> None:
    DebiasedConsensus().check(normed(lambda: nn.LayerNorm(4)))


def test_mapped_and_traced_steps_equal_eager_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("detente.training.inductor.compile_graph", lambda graph, example: graph)
    game, method = StochasticBilinear(4, batch=3), Method(DebiasedConsensus(0.5), Simultaneous(), SGD(0.1))
    generators = [torch.Generator().manual_seed(seed) for seed in range(2)]
    states = [method.initial(game, generator) for generator in generators]
    draws = [[draw(game, method, state, g)] for state, g in zip(states, generators, strict=True)]
    eager, _ = Steps(game, method)(states, draws)
    steps = Steps(game, method, compiled=True, mapped=True)
    compiled, _ = steps(states, draws)
    assert steps.compiled and steps.mapped, steps.fallback_reason
    torch.testing.assert_close([s.flat() for s in compiled], [s.flat() for s in eager], rtol=1e-12, atol=1e-12)
