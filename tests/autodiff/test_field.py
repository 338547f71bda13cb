"""Derivatives: equal in both engines and to finite differences; losses that do not depend on a player."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import pytest
import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves, tree_map

from detente.autodiff import (
    field_products,
    input_gradient,
    jacobian,
    jacobian_vector,
    linearization,
    per_sample_gradients,
    player_gradient,
    transposed_jacobian,
    vector_field,
    vector_jacobian,
)
from detente.fields.consensus import Consensus
from detente.game import Batch, Buffers, Game, Vectors
from detente.games.adversarial import Adversarial
from detente.games.low_dimensional import LowDimensional
from detente.games.networks import Networks
from detente.networks.mlp import MLP
from detente.penalties.base import Penalty
from detente.penalties.dragan import DRAGAN
from detente.penalties.gradient_penalty import GradientPenalty
from detente.penalties.r1 import R1
from detente.penalties.r2 import R2
from tests.gradient_count import counted_gradients

Point = tuple[Vectors, Buffers, Batch]
PENALTIES: dict[str, tuple[Penalty, ...]] = {
    "none": (),
    "gradient_penalty": (GradientPenalty(2.0),),
    "dragan": (DRAGAN(1.5),),
    "r1 and r2": (R1(0.7), R2(0.9)),
}


def gan(penalties: Sequence[Penalty] = (), norm: bool = False, objective: str = "non_saturating") -> Adversarial:
    """Return a smooth GAN of about fifty numbers in float64; ReLU would have kinks."""
    with torch.random.fork_rng():
        torch.manual_seed(4)
        hidden = [nn.BatchNorm1d(4)] if norm else []
        generator = nn.Sequential(nn.Linear(3, 4), *hidden, nn.Tanh(), nn.Linear(4, 2)).double()
        discriminator = MLP(2, 1, 4, 2, "tanh").double()
    data = torch.randn(32, 2, generator=torch.Generator().manual_seed(0))
    return Adversarial(generator, discriminator, data, 3, objective, penalties, batch=6)


def point(game: Game, seed: int = 0) -> Point:
    generator = torch.Generator().manual_seed(seed)
    vectors, buffers = game.initial(generator)
    batch = {name: number.double() for name, number in game.draw(generator).items()}
    return vectors, buffers, batch


def stacked(vectors: Vectors, game: Game) -> Tensor:
    return torch.cat([vectors[name] for name in game.players])


def parted(x: Tensor, like: Vectors, game: Game) -> Vectors:
    return dict(zip(game.players, x.split([like[name].numel() for name in game.players]), strict=True))


def directions(vectors: Vectors, seed: int = 9) -> Vectors:
    generator = torch.Generator().manual_seed(seed)
    return {name: torch.randn(v.shape, generator=generator, dtype=v.dtype) for name, v in vectors.items()}


def differences(function: Callable[[Tensor], Tensor], x: Tensor, step: float = 1e-5) -> Tensor:
    """Return the derivative of `function` at `x` by central differences, one column per element of `x`."""
    units = torch.eye(len(x), dtype=x.dtype) * step
    return torch.stack([(function(x + unit) - function(x - unit)) / (2 * step) for unit in units], dim=-1)


def under_vmap(function: Callable[[Point], object], at: Point) -> object:
    """Return what the other engine computes: the function mapped over a batch of one."""
    batch_of_one = tree_map(lambda tensor: tensor.unsqueeze(0), at)
    return tree_map(lambda tensor: tensor.squeeze(0), torch.func.vmap(function)(batch_of_one))


GAMES = {
    "low dimensional": lambda: LowDimensional("f3", start=(1.2, -0.7)),
    **{f"penalty: {name}": lambda penalties=penalties: gan(penalties) for name, penalties in PENALTIES.items()},
    "batch norm": lambda: gan(norm=True),
    "zero-sum": lambda: gan(objective="minimax"),
}
every_game = pytest.mark.parametrize("make", GAMES.values(), ids=GAMES.keys())


@every_game
def test_field_is_equal_in_both_engines(make: Callable[[], Game]) -> None:
    game = make()
    at = point(game)

    def field(at: Point) -> tuple[object, ...]:
        evaluation = vector_field(game, *at)
        return evaluation.field, evaluation.losses, evaluation.buffers

    torch.testing.assert_close(under_vmap(field, at), field(at), rtol=1e-12, atol=1e-14)


@every_game
@pytest.mark.parametrize("with_cotangent", [False, True], ids=["consensus", "cotangent"])
def test_vector_jacobian_is_equal_in_both_engines(make: Callable[[], Game], with_cotangent: bool) -> None:
    game = make()
    at = point(game)
    cotangent = directions(at[0]) if with_cotangent else None

    def both(at: Point) -> tuple[object, ...]:
        evaluation, product = vector_jacobian(game, *at, cotangent)
        return evaluation.field, evaluation.losses, evaluation.buffers, product

    torch.testing.assert_close(under_vmap(both, at), both(at), rtol=1e-11, atol=1e-13)


@pytest.mark.parametrize("players", [("generator",), ("discriminator",), ("generator", "discriminator")])
@pytest.mark.parametrize("rows", [("generator",), ("discriminator",), ("generator", "discriminator")])
def test_blocks_of_the_transposed_jacobian(rows: tuple[str, ...], players: tuple[str, ...]) -> None:
    game = gan(PENALTIES["gradient_penalty"])
    at = point(game)
    u = directions(at[0])
    masked = {name: block if name in rows else block * 0 for name, block in u.items()}
    expected = parted(jacobian(game, *at).T @ stacked(masked, game), at[0], game)

    def product(at: Point) -> Vectors:
        return vector_jacobian(game, *at, {name: u[name] for name in rows}, rows, players)[1]

    for actual in (product(at), under_vmap(product, at)):
        assert isinstance(actual, dict) and set(actual) == set(players)
        torch.testing.assert_close(actual, {name: expected[name] for name in players}, rtol=1e-10, atol=1e-12)


@every_game
def test_field_by_finite_differences(make: Callable[[], Game]) -> None:
    game = make()
    vectors, buffers, batch = point(game)
    field = vector_field(game, vectors, buffers, batch).field
    for name in game.players:

        def loss(x: Tensor, name: str = name) -> Tensor:
            return game.losses({**vectors, name: x}, buffers, batch)[0][name]

        torch.testing.assert_close(field[name], differences(loss, vectors[name]), rtol=1e-6, atol=1e-8)
        alone = player_gradient(game, name, vectors, buffers, batch)
        torch.testing.assert_close(alone.field, {name: field[name]}, rtol=1e-12, atol=1e-14)


@every_game
def test_jacobian_by_finite_differences(make: Callable[[], Game]) -> None:
    game = make()
    vectors, buffers, batch = point(game)

    def field(x: Tensor) -> Tensor:
        return stacked(vector_field(game, parted(x, vectors, game), buffers, batch).field, game)

    dense = jacobian(game, vectors, buffers, batch, chunk=7)
    torch.testing.assert_close(dense, differences(field, stacked(vectors, game)), rtol=1e-5, atol=1e-7)


@every_game
def test_products_with_the_jacobian(make: Callable[[], Game]) -> None:
    game = make()
    at = point(game)
    u, dense = directions(at[0]), jacobian(game, *at)
    forward = stacked(jacobian_vector(game, *at, u), game)
    torch.testing.assert_close(forward, dense @ stacked(u, game), rtol=1e-10, atol=1e-12)
    backward = stacked(vector_jacobian(game, *at, u)[1], game)
    torch.testing.assert_close(backward, dense.T @ stacked(u, game), rtol=1e-10, atol=1e-12)
    operator = transposed_jacobian(game, *at)
    for _ in range(2):  # the graph is kept
        torch.testing.assert_close(operator(stacked(u, game)), backward, rtol=1e-12, atol=1e-14)


@every_game
def test_consensus_is_the_gradient_of_half_the_squared_field(make: Callable[[], Game]) -> None:
    """Three derivative levels where a penalty's input gradient is inside the loss."""
    game = make()
    vectors, buffers, batch = point(game)

    def energy(x: Tensor) -> Tensor:
        return 0.5 * stacked(vector_field(game, parted(x, vectors, game), buffers, batch).field, game).square().sum()

    plain = stacked(vector_field(game, vectors, buffers, batch).field, game)
    evaluation, _ = Consensus(0.8)(game, vectors, buffers, batch, {}, game.players)
    pull = (stacked(evaluation.field, game) - plain) / 0.8
    torch.testing.assert_close(pull, differences(energy, stacked(vectors, game)), rtol=1e-5, atol=1e-7)


def test_jacobian_has_nonzero_blocks_off_the_diagonal() -> None:
    """A `detach` between them would leave the blocks off the diagonal at zero."""
    game = gan()
    vectors, buffers, batch = point(game)
    dense, n = jacobian(game, vectors, buffers, batch), vectors["generator"].numel()
    assert dense[:n, n:].norm() > 1e-3 and dense[n:, :n].norm() > 1e-3


@pytest.mark.parametrize("penalty", [R1(0.7), GradientPenalty(2.0)], ids=["r1", "gradient_penalty"])
def test_per_sample_gradients_average_to_the_batch_gradient(penalty: Penalty) -> None:
    game = gan((penalty,))
    at = point(game)
    for name in game.players:
        gradients = per_sample_gradients(game, name, *at)
        assert gradients.shape == (6, at[0][name].numel())
        torch.testing.assert_close(
            gradients.mean(0), player_gradient(game, name, *at).field[name], rtol=1e-10, atol=1e-13
        )
        assert gradients.std(0).max() > 1e-3, "samples differ"


class Partial(Game):
    """A loss that its player cannot change, one that is linear in it, and one of the other player alone."""

    @property
    def players(self) -> tuple[str, ...]:
        return ("idle", "linear", "follower")

    def initial(self, generator: torch.Generator) -> tuple[Vectors, Buffers]:
        return {name: torch.full((2,), 1.5 + i).double() for i, name in enumerate(self.players)}, {}

    def losses(
        self, vectors: Vectors, buffers: Buffers, batch: Batch, players: tuple[str, ...] | None = None
    ) -> tuple[dict[str, Tensor], Buffers]:
        values = {
            "idle": torch.ones(()).double(),
            "linear": 3 * vectors["linear"].sum(),
            "follower": vectors["idle"].square().sum(),
        }
        return {name: values[name] for name in players or self.players}, buffers


def test_losses_that_do_not_depend_on_their_own_player() -> None:
    game = Partial()
    vectors, buffers, batch = point(game)
    expected = {name: torch.full((2,), 3.0 * (name == "linear")).double() for name in game.players}

    def field(at: Point) -> Vectors:
        return vector_field(game, *at).field

    def pull(at: Point) -> Vectors:
        return vector_jacobian(game, *at)[1]

    at = vectors, buffers, batch
    zero = {name: torch.zeros(2).double() for name in game.players}
    for actual in (field(at), under_vmap(field, at)):
        torch.testing.assert_close(actual, expected)
    for actual in (pull(at), under_vmap(pull, at), jacobian_vector(game, *at, directions(vectors))):
        torch.testing.assert_close(actual, zero)


def test_jacobian_is_zero_for_a_player_in_no_gradient() -> None:
    game = Partial()
    torch.testing.assert_close(jacobian(game, *point(game)), torch.zeros(6, 6).double())


def test_results_carry_no_graph_and_inputs_no_gradient() -> None:
    game = gan(PENALTIES["gradient_penalty"], norm=True)
    at = point(game)
    before = tree_map(torch.clone, at)
    evaluation, product = vector_jacobian(game, *at)
    results = [
        evaluation.field,
        evaluation.losses,
        evaluation.buffers,
        product,
        vector_field(game, *at).field,
        jacobian(game, *at),
    ]
    assert not any(tensor.requires_grad for tensor in tree_leaves(results))
    assert not any(tensor.requires_grad for tensor in tree_leaves(at))
    torch.testing.assert_close(at, before, rtol=0, atol=0)
    assert all(parameter.grad is None for module in game.modules.values() for parameter in module.parameters())


def test_the_field_is_the_same_inside_no_grad() -> None:
    game = gan(PENALTIES["gradient_penalty"])
    at = point(game)
    with torch.no_grad():
        inside = vector_jacobian(game, *at)
    torch.testing.assert_close(inside[1], vector_jacobian(game, *at)[1], rtol=0, atol=0)


def score(x: Tensor) -> Tensor:
    return (x**3).flatten(1).sum(1)


def test_input_gradient_of_each_sample() -> None:
    x = torch.randn(4, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    torch.testing.assert_close(input_gradient(score, x), 3 * x**2)
    mapped = torch.func.vmap(lambda samples: input_gradient(score, samples))(x.unsqueeze(0)).squeeze(0)
    torch.testing.assert_close(mapped, 3 * x**2)
    assert not x.requires_grad


def test_input_gradient_can_be_differentiated_further() -> None:
    x = torch.randn(4, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)

    def energy(x: Tensor) -> Tensor:
        return 0.5 * input_gradient(score, x).square().sum()

    expected = 18 * x**3  # ∇ Σ ½(3x²)²
    leaf = x.clone().requires_grad_()
    torch.testing.assert_close(torch.autograd.grad(energy(leaf), leaf)[0], expected)
    torch.testing.assert_close(torch.func.grad(energy)(x), expected)


def test_input_gradient_of_a_flat_score_is_zero() -> None:
    x = torch.randn(4, 3, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(input_gradient(lambda x: (x * 0).sum(1), x), torch.zeros(4, 3))


@every_game
def test_field_products_are_both_products_of_the_dense_jacobian(make: Callable[[], Game]) -> None:
    game = make()
    at = point(game)
    dense, v = jacobian(game, *at), vector_field(game, *at)

    def products(at: Point) -> tuple[object, ...]:
        evaluation, backward, forward = field_products(game, *at)
        return evaluation.field, evaluation.losses, evaluation.buffers, backward, forward

    u = stacked(v.field, game)
    expected = v.field, v.losses, v.buffers, parted(dense.T @ u, at[0], game), parted(dense @ u, at[0], game)
    for actual in (products(at), under_vmap(products, at)):
        torch.testing.assert_close(actual, expected, rtol=1e-10, atol=1e-12)


@every_game
def test_linearization_can_be_called_several_times(make: Callable[[], Game]) -> None:
    game = make()
    at = point(game)
    dense, v = jacobian(game, *at), vector_field(game, *at)
    first, second = game.players

    def products(at: Point) -> tuple[object, ...]:
        evaluation, transposed = linearization(game, *at)
        block = transposed({first: at[0][first]}, (second,))
        return evaluation.field, evaluation.losses, evaluation.buffers, block, transposed(block, (first, second))

    masked = {first: at[0][first], second: torch.zeros_like(at[0][second])}
    block = parted(dense.T @ stacked(masked, game), at[0], game)[second]
    masked = {first: torch.zeros_like(at[0][first]), second: block}
    both = parted(dense.T @ stacked(masked, game), at[0], game)
    for actual in (products(at), under_vmap(products, at)):
        expected = v.field, v.losses, v.buffers, {second: block}, both
        torch.testing.assert_close(actual, expected, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("objective", ["minimax", "non_saturating"])
@pytest.mark.parametrize("penalties", [(), (R1(0.7),)], ids=["none", "r1"])
def test_opposed_losses_share_one_backward_pass(
    objective: str, penalties: tuple[Penalty, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    game = gan(penalties, objective=objective)
    vectors, buffers, batch = point(game)
    alone = {name: player_gradient(game, name, vectors, buffers, batch) for name in game.players}
    passes = counted_gradients(monkeypatch)
    both = vector_field(game, vectors, buffers, batch)
    opposed = objective == "minimax" and not penalties
    assert len(passes) == (1 if opposed else 2 + len(penalties))
    for name in game.players:
        assert torch.equal(both.field[name], alone[name].field[name])
        assert torch.equal(both.losses[name], alone[name].losses[name])


def test_parts_of_one_node_are_not_opposed() -> None:
    def losses(net, batch):
        first, second = (net.x * batch["scale"].flatten() * net.y).unbind()
        return {"x": -first, "y": second}

    game = Networks(
        {"x": torch.ones(2), "y": torch.ones(2)}, losses, data={"scale": torch.tensor([[2.0, 3.0]])}, batch=1
    )
    vectors, buffers = game.initial(torch.Generator())
    field = vector_field(game, vectors, buffers, {"scale": torch.tensor([2.0, 3.0])}).field
    assert field["x"].tolist() == [-2.0, 0.0] and field["y"].tolist() == [0.0, 3.0]
