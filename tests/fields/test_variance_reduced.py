"""Variance reduction and full batches: means by enumeration, Algorithm 3 by hand, refusals and cost."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from detente import methods
from detente.autodiff import vector_field
from detente.errors import InvalidValue
from detente.fields.base import mean_field
from detente.fields.full_batch import FullBatch
from detente.fields.gradient import Gradient
from detente.fields.variance_reduced import VarianceReduced
from detente.game import Batch, Game, Vectors
from detente.games.adversarial import Adversarial
from detente.games.quadratic import Bilinear
from detente.games.stochastic_bilinear import StochasticBilinear
from detente.methods.method import Method
from detente.networks.mlp import MLP
from detente.objectives.least_squares import LeastSquares
from detente.objectives.relativistic import Relativistic
from detente.optimizers.adam import Adam
from detente.optimizers.sgd import SGD
from detente.penalties.dragan import DRAGAN
from detente.penalties.gradient_penalty import GradientPenalty
from detente.penalties.r1 import R1
from detente.penalties.r2 import R2
from detente.schemes.alternating import Alternating
from detente.schemes.base import Scheme
from detente.schemes.extragradient import Extragradient
from detente.schemes.shared_batch import SharedBatch
from detente.schemes.simultaneous import Simultaneous
from detente.state import State
from detente.training.step import Steps, draw
from tests.gradient_count import counted_gradients

BOTH = ("generator", "discriminator")


def gan(count: int = 10, batch: int = 4, **settings: Any) -> Adversarial:
    """Return a small GAN over a stored set, in float64."""
    points = torch.randn(count, 2, generator=torch.Generator().manual_seed(0))
    with torch.random.fork_rng():
        torch.manual_seed(1)
        modules = {"generator": MLP(3, 2, 4, 1, "tanh").double(), "discriminator": MLP(2, 1, 4, 1, "tanh").double()}
    return Adversarial(**({**modules, "data": points, "latent": 3, "batch": batch, "fixed_latents": True} | settings))


def prepared(game: Game, method: Method, seed: int = 0) -> tuple[State, torch.Generator]:
    generator = torch.Generator().manual_seed(seed)
    return method.prepare(game, method.initial(game, generator), generator), generator


def played(game: Game, method: Method, state: State, generator: torch.Generator, steps: int) -> list[State]:
    states = []
    for _ in range(steps):
        state = method.prepare(game, state, generator)
        drawn = draw(game, method, state, generator)
        state, _ = method.step(game, state, drawn.batches, drawn.noise)
        states.append(state)
    return states


def moved(vectors: Vectors, by: float) -> Vectors:
    return {name: vector + by * torch.linspace(-1, 1, len(vector)).double() for name, vector in vectors.items()}


def close(actual: object, expected: object, tolerance: float = 1e-12) -> None:
    torch.testing.assert_close(actual, expected, rtol=tolerance, atol=tolerance)


# ---- What the field is ----------------------------------------------------------------------------------------------


def all_batches(game: Game) -> list[Batch]:
    """Return every batch that the game may draw, each as likely as another."""
    if isinstance(game, StochasticBilinear):
        return [{"term": torch.tensor(indices)} for indices in itertools.product(range(game.size), repeat=game.batch)]
    whole = next(game.parts(game.size))
    assert game.batch == 1 and game.size is not None
    pairs = itertools.product(range(game.size), repeat=2)
    return [{"real": whole["real"][[i]], "latent": whole["latent"][[j]]} for i, j in pairs]


@pytest.mark.parametrize("game", [StochasticBilinear(3, batch=2), gan(5, 1), gan(5, 1, penalties=(R1(2.0), R2(2.0)))])
def test_the_mean_over_all_batches_equals_the_full_gradient(game: Game) -> None:
    """Samples and latents are drawn independently and μ pairs them by number: for separable losses, the same mean."""
    method = Method(VarianceReduced(), Simultaneous(), SGD(0.1))
    state, _ = prepared(game, method)
    vectors, memory = moved(state.vectors, 0.05), state.memory["field"]
    batches = all_batches(game)
    fields = [method.field(game, vectors, state.buffers, batch, memory, game.players)[0].field for batch in batches]
    whole = vector_field(game, vectors, state.buffers, next(game.parts(game.size))).field
    plain = [vector_field(game, vectors, state.buffers, batch).field for batch in batches]
    for name in game.players:
        blocks = torch.stack([field[name] for field in fields])
        close(blocks.mean(0), whole[name])
        near, far = (torch.stack([f[name] for f in some]).var(0).sum() for some in (fields, plain))
        assert near < 0.5 * far, "so close to the snapshot, there is less noise than in plain gradients"


@pytest.mark.parametrize("game", [StochasticBilinear(5, batch=2), gan()])
def test_the_field_at_the_snapshot_has_no_noise(game: Game) -> None:
    method = Method(VarianceReduced(), Simultaneous(), SGD(0.1))
    state, generator = prepared(game, method)
    for _ in range(5):
        batch = game.draw(generator)
        evaluation, _ = method.field(game, state.vectors, state.buffers, batch, state.memory["field"], game.players)
        close(evaluation.field, state.memory["field"]["mean"], 0.0)


def test_the_stored_mean_equals_the_full_gradient_with_a_shorter_last_batch() -> None:
    game = gan(10, 4)
    state, _ = prepared(game, methods.svrg())
    whole = vector_field(game, state.vectors, state.buffers, next(game.parts(10)))
    close(state.memory["field"]["mean"], whole.field)
    assert [len(part["real"]) for part in game.parts()] == [4, 4, 2]
    evaluation = mean_field(game, state.vectors, state.buffers, state.t, BOTH)
    close(evaluation.losses, whole.losses)


def test_alternating_steps_evaluate_the_control_variate_at_all_snapshots() -> None:
    game, field = gan(), VarianceReduced()
    state, generator = prepared(game, Method(field, Alternating(), SGD(0.1)))
    batch, then = game.draw(generator), state.vectors
    now = {**then, "discriminator": then["discriminator"] + 0.2}
    evaluation, _ = field(game, now, state.buffers, batch, state.memory["field"], ("generator",))
    here, there = (vector_field(game, at, state.buffers, batch).field["generator"] for at in (now, then))
    close(evaluation.field["generator"], here - there + state.memory["field"]["mean"]["generator"])
    assert not torch.equal(here, there)


# ---- Algorithm 3 by hand --------------------------------------------------------------------------------------------


def linear_gan(points: np.ndarray, batch: int) -> Adversarial:
    """Return G(z) = θz against D(x) = ψx under least squares, θ and ψ one number each."""
    with torch.random.fork_rng():
        torch.manual_seed(3)
        generator, discriminator = (nn.Linear(1, 1, bias=False).double() for _ in range(2))
    data = torch.tensor(points[:, None], dtype=torch.float32)
    return Adversarial(generator, discriminator, data, 1, LeastSquares(), batch=batch, fixed_latents=True)


def slope_of_discriminator(psi: float, theta: float, x: np.ndarray, z: np.ndarray) -> float:
    return float(np.mean((psi * x - 1) * x) + np.mean(psi * (theta * z) ** 2))


def slope_of_generator(psi: float, theta: float, z: np.ndarray) -> float:
    return float(np.mean((psi * theta * z - 1) * psi * z))


@pytest.mark.parametrize("scheme", [Alternating(), SharedBatch()])
@pytest.mark.parametrize("reduced", [BOTH, ("discriminator",)])
@pytest.mark.parametrize("every", [1, 2])
def test_steps_equal_algorithm_3_written_by_hand(every: int, reduced: tuple[str, ...], scheme: Scheme) -> None:
    """With new latents in line 14, as its authors' code has them, and with line 11's, as it is printed."""
    points = np.random.default_rng(0).normal(1.0, 0.5, 7).astype(np.float32)
    game, rate, epoch = linear_gan(points, 2), 0.05, 4  # an epoch of 7 samples in twos is 4 steps
    x_all, z_all = points.astype(float), game.latents.numpy().astype(float).ravel()
    method = Method(VarianceReduced(every, players=reduced), scheme, SGD(rate))
    generator = torch.Generator().manual_seed(5)
    state = method.initial(game, generator)
    theta, psi = (float(state.vectors[name]) for name in BOTH)
    for e in range(5):
        if e % every == 0:
            theta_s, psi_s = theta, psi
            mu_d = slope_of_discriminator(psi, theta, x_all, z_all)
            mu_g = slope_of_generator(psi, theta, z_all)
        for _ in range(epoch):
            state = method.prepare(game, state, generator)
            drawn = draw(game, method, state, generator)
            state, _ = method.step(game, state, drawn.batches, drawn.noise)
            drawings = [(b["real"].numpy().ravel(), b["latent"].numpy().ravel()) for b in drawn.batches]
            (x, z), (_, z_new) = drawings[0], drawings[-1]
            x, z, z_new = x.astype(float), z.astype(float), z_new.astype(float)
            noise = mu_d - slope_of_discriminator(psi_s, theta_s, x, z)
            psi -= rate * (slope_of_discriminator(psi, theta, x, z) + noise)
            noise = mu_g - slope_of_generator(psi_s, theta_s, z_new) if "generator" in reduced else 0.0
            theta -= rate * (slope_of_generator(psi, theta, z_new) + noise)
            actual = [float(state.vectors[name]) for name in BOTH]
            np.testing.assert_allclose(actual, [theta, psi], rtol=1e-12)


def test_svrg_discriminator_uses_adam_for_the_generator() -> None:
    method = methods.svrg_discriminator()
    assert method.optimizer == {"generator": Adam(1e-4, (0.5, 0.999)), "discriminator": SGD(0.01)}
    with pytest.raises(InvalidValue, match="optimizer"):
        method.check(StochasticBilinear(4))


# ---- Snapshots, memory, cost ----------------------------------------------------------------------------------------


def snapshot_times(game: Game, method: Method, steps: int) -> list[int]:
    """Return the steps before which a snapshot was taken."""
    state, generator = method.initial(game, rng := torch.Generator().manual_seed(0)), rng
    times = []
    for t in range(steps):
        before = state.memory["field"]
        state = method.prepare(game, state, generator)
        if state.memory["field"] is not before:
            times.append(t)
            close(state.memory["field"]["snapshot"], state.vectors, 0.0)
        drawn = draw(game, method, state, generator)
        state, _ = method.step(game, state, drawn.batches, drawn.noise)
    return times


@pytest.mark.parametrize(("every", "expected"), [(1.0, [0, 5, 10]), (2.0, [0, 10]), (0.4, [0, 2, 4, 6, 8, 10])])
def test_snapshots_are_taken_at_the_requested_interval(every: float, expected: list[int]) -> None:
    assert snapshot_times(StochasticBilinear(9, batch=2), methods.svrg(every), 12) == expected


def test_random_snapshots_come_once_per_epoch_on_average() -> None:
    times = snapshot_times(
        StochasticBilinear(8, batch=2), Method(VarianceReduced(by_chance=True), Simultaneous(), SGD(0.01)), 400
    )
    assert times[0] == 0 and len(set(np.diff(times))) > 3
    assert abs(len(times) - 100) < 4 * (400 * 0.25 * 0.75) ** 0.5


def test_memory_holds_two_vectors_per_player() -> None:
    game = gan()
    sizes = {name: len(vector) for name, vector in game.initial(torch.Generator())[0].items()}

    def numbers_in_memory(method: Method) -> int:
        return sum(
            tensor.numel() for name, tensor in prepared(game, method)[0].flat().items() if "memory/field" in name
        )

    assert numbers_in_memory(methods.svrg()) == 2 * sum(sizes.values())
    assert numbers_in_memory(methods.svrg_discriminator()) == sum(sizes.values()) + sizes["discriminator"]


@pytest.mark.parametrize(
    "make", [methods.svrg, methods.svrg_shared_batch, methods.svrg_discriminator, methods.svre, methods.full_batch]
)
def test_cost_over_two_epochs_with_its_snapshots(make: Callable[[], Method], monkeypatch: pytest.MonkeyPatch) -> None:
    game, method = gan(10, 4), make()
    state, generator = method.initial(game, rng := torch.Generator().manual_seed(0)), rng
    snapshots = 0

    counted = counted_gradients(monkeypatch)
    for _ in range(6):
        before = state.memory["field"]
        (state,) = played(game, method, state, generator, 1)
        snapshots += state.memory["field"] is not before
    if isinstance(method.field, VarianceReduced) and method.field.by_chance:  # on average: two looks in two epochs
        counted.append((2 - snapshots) * 2 * 3)
    assert sum(counted) == pytest.approx(6 * method.gradient_evaluations(game))


@pytest.mark.parametrize("method", [methods.svrg(), methods.svre(), methods.svrg_discriminator(0.5)])
def test_training_resumed_from_a_flat_state_is_exact(method: Method) -> None:
    game = gan(12, 4)
    generator = torch.Generator().manual_seed(0)
    whole = played(game, method, method.initial(game, generator), generator, 20)
    again = torch.Generator().manual_seed(0)
    half = played(game, method, method.initial(game, again), again, 10)[-1]
    stored, random = {name: tensor.clone() for name, tensor in half.flat().items()}, again.get_state()
    resumed = State.from_flat(stored, method.initial(game, torch.Generator()))
    rest = played(game, method, resumed, torch.Generator().set_state(random), 10)
    close(rest[-1].flat(), whole[-1].flat(), 0.0)


# ---- The whole set --------------------------------------------------------------------------------------------------


def test_full_batch_is_descent_on_the_whole_set() -> None:
    game, method = gan(10, 4), methods.full_batch(learning_rate=0.1)
    state, generator = prepared(game, method)
    expected, (whole,) = dict(state.vectors), game.parts(10)
    for after in played(game, method, state, generator, 5):
        for name in ("discriminator", "generator"):
            slope = vector_field(game, expected, state.buffers, whole).field[name]
            expected[name] = expected[name] - 0.1 * slope
        close(after.vectors, expected)
    assert method.gradient_evaluations(game) == 2 * 3
    assert Method(FullBatch(), Extragradient(), SGD(0.1)).gradient_evaluations(game) == 4 * 3


def test_a_snapshot_before_every_step_equals_full_batch_descent() -> None:
    game = gan(10, 4)
    often = Method(VarianceReduced(every=1e-9), Simultaneous(), SGD(0.1))
    whole = Method(FullBatch(), Simultaneous(), SGD(0.1))
    vectors = [played(game, method, *prepared(game, method), 5)[-1].vectors for method in (often, whole)]
    close(vectors[0], vectors[1])


# ---- What is refused ------------------------------------------------------------------------------------------------


class Cooling(StochasticBilinear):
    """A game whose losses change with the step."""

    scheduled = True


def with_layer(layer: nn.Module) -> Adversarial:
    return gan(discriminator=nn.Sequential(nn.Linear(2, 4), layer, nn.Linear(4, 1)).double())


NOISY: dict[str, tuple[Callable[[], Game], str]] = {
    "batch norm": (lambda: with_layer(nn.BatchNorm1d(4)), "BatchNorm|more than 1 value"),
    "dropout": (lambda: with_layer(nn.Dropout()), "dropout"),
    "gradient penalty": (lambda: gan(penalties=GradientPenalty()), "the penalty GradientPenalty"),
    "dragan": (lambda: gan(penalties=DRAGAN()), "the penalty DRAGAN"),
    "relativistic": (lambda: gan(objective=Relativistic()), "the objective Relativistic"),
    "scheduled": (lambda: Cooling(4), "change with the step"),
}


@pytest.mark.parametrize("name", NOISY)
def test_losses_that_are_not_finite_sums_raise_or_warn(name: str) -> None:
    make, reason = NOISY[name]
    game = make()
    with pytest.raises(InvalidValue, match=reason) as caught:
        VarianceReduced().check(game)
    assert caught.value.field == "game" and "allow_noise" in str(caught.value)
    FullBatch().check(game)
    method = Method(VarianceReduced(allow_noise=True), Simultaneous(), SGD(0.01))
    with pytest.warns(UserWarning, match=reason):
        state, generator = prepared(game, method)
    assert all(bool(v.isfinite().all()) for v in played(game, method, state, generator, 2)[-1].vectors.values())


@pytest.mark.parametrize("layer", [nn.LayerNorm(4), nn.BatchNorm1d(4).eval(), nn.GroupNorm(2, 4)])
def test_layers_that_treat_samples_independently_are_accepted(layer: nn.Module) -> None:
    VarianceReduced().check(with_layer(layer))


@pytest.mark.parametrize("field", [VarianceReduced(), FullBatch()])
def test_the_error_without_a_finite_set_suggests_a_remedy(field: VarianceReduced | FullBatch) -> None:
    with pytest.raises(InvalidValue, match="fixed_latents=True"):
        field.check(gan(fixed_latents=False))
    with pytest.raises(InvalidValue, match="finite sums"):
        field.check(Bilinear(2))


def test_unknown_players_are_refused() -> None:
    with pytest.raises(InvalidValue, match="players: got 'critic'"):
        VarianceReduced(players=("critic",)).check(gan())
    with pytest.raises(InvalidValue, match="players"):
        VarianceReduced(players=())


# ---- Variance-reduced extragradient ---------------------------------------------------------------------------------


def distances(method: Method, steps: int) -> np.ndarray:
    game = StochasticBilinear(4, batch=2, start=[1.0] * 8)
    assert game.solution is not None
    state, generator = prepared(game, method)
    squares = [
        sum(float((state.vectors[name] - game.solution[name]).square().sum()) for name in game.players)
        for state in played(game, method, state, generator, steps)
    ]
    return np.sqrt(squares)


def test_variance_reduced_extragradient_converges_linearly_where_extragradient_stalls() -> None:
    reduced = distances(methods.svre(learning_rate=1.0), 600)
    plain = distances(Method(Gradient(), Extragradient(), SGD(1.0)), 200)
    assert plain[100:].min() > 0.5
    windows = np.log([reduced[i : i + 50].mean() for i in (0, 275, 550)])
    assert (np.diff(windows) < -2).all(), "each half divides the distance by seven or more"
    assert reduced[-1] < 1e-5


def test_the_discriminator_can_have_its_own_rate() -> None:
    assert methods.svre(discriminator_learning_rate=0.04).optimizer == {
        "generator": SGD(0.01),
        "discriminator": SGD(0.04),
    }


@pytest.mark.parametrize("scheme", [Simultaneous(), Alternating(), Extragradient()])
def test_mapped_and_traced_steps_equal_eager_ones(
    scheme: Simultaneous | Alternating | Extragradient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("detente.training.inductor.compile_graph", lambda graph, example: graph)
    game, method = StochasticBilinear(4, batch=2), Method(VarianceReduced(), scheme, SGD(0.1))
    states, draws = [], []
    for seed in range(2):
        state, generator = prepared(game, method, seed)
        (state,) = played(game, method, state, generator, 1)
        states.append(state)
        draws.append([draw(game, method, state, generator)])
    eager, _ = Steps(game, method)(states, draws)
    steps = Steps(game, method, compiled=True, mapped=True)
    compiled, _ = steps(states, draws)
    assert steps.compiled and steps.mapped, steps.fallback_reason
    close([state.flat() for state in compiled], [state.flat() for state in eager])
