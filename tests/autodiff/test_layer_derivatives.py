"""Every layer of torch.nn in a player, compared with central differences at first, second and third order.

The field is differentiated once, its Jacobian twice, and with a penalty one order more. What is right eagerly is then
compared with itself mapped over seeds and traced for compilation.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import cache

import pytest
import torch
from torch import Tensor, nn
from torch.fx.experimental.proxy_tensor import make_fx

from detente.autodiff import field_products, vector_field, vector_jacobian
from detente.checks.switch import off
from detente.errors import InvalidValue
from detente.game import Batch, Buffers, Vectors
from detente.games.adversarial import Adversarial
from detente.penalties.r1 import R1
from tests.autodiff.layer_table import ATTENTION, NORMS, RECURRENT, TABLE, Builder

STEP = 1e-5  # of the central differences
FUSED = {*NORMS, *ATTENTION, *(name for name in TABLE if name.startswith("ConvTranspose"))}  # which torch may get wrong
CASES = [
    pytest.param(name, player, penalty, id=f"{name}, {player}{', penalty' if penalty else ''}")
    for name in TABLE
    for player, penalty in (("generator", False), ("discriminator", False), ("discriminator", True))
    if player == "discriminator" or name in FUSED
]
UNMAPPED = ("RReLU in evaluation",)  # of which torch.vmap has no rule
MAPPED = [
    pytest.param(name, penalty, id=f"{name}{', penalty' if penalty else ''}")
    for name in TABLE
    for penalty in (False, True)
    if name not in UNMAPPED and (penalty or name in FUSED | {*RECURRENT})
]
pytestmark = [
    pytest.mark.filterwarnings("ignore:There is a performance drop"),  # torch.vmap, of what it maps one by one
    pytest.mark.filterwarnings("ignore:.*weight_norm. is deprecated"),
    pytest.mark.filterwarnings("ignore:Using padding='same'"),
]
Point = tuple[Vectors, Buffers, Batch]


def network(layer: Builder, shape: tuple[int, ...], inputs: int, outputs: int) -> nn.Module:
    """Return the layer between two linear ones, in float64."""
    body = nn.Sequential(nn.Linear(inputs, math.prod(shape)), nn.Unflatten(1, shape), layer(), nn.Flatten()).double()
    width = body(torch.randn(6, inputs, dtype=torch.float64)).shape[1]
    return nn.Sequential(*body, nn.Linear(width, outputs).double())


def plain(inputs: int, outputs: int) -> nn.Module:
    return nn.Sequential(nn.Linear(inputs, 5), nn.Tanh(), nn.Linear(5, outputs)).double()


@cache  # building a game, which checks its modules, takes longer than its derivatives
def game_of(name: str, player: str = "discriminator", penalty: bool = False) -> Adversarial:
    """Return a game with a layer of the table in one player."""
    return game_with(*TABLE[name], player, penalty)


def game_with(layer: Builder, shape: tuple[int, ...], player: str, penalty: bool) -> Adversarial:
    """Return a game with the layer in one player."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        inputs, outputs = (3, 2) if player == "generator" else (2, 1)
        inside = network(layer, shape, inputs, outputs)
        generator, critic = (inside, plain(2, 1)) if player == "generator" else (plain(3, 2), inside)
    data = torch.randn(32, 2, generator=torch.Generator().manual_seed(0))
    with off():  # a penalty on a discriminator with BatchNorm is differentiated rightly, but is not advisable
        return Adversarial(generator, critic, data, 3, "non_saturating", R1(0.7) if penalty else (), batch=6)


def point_of(game: Adversarial) -> Point:
    """Return a point near the start and a batch, where no two numbers or samples are equal by construction."""
    generator = torch.Generator().manual_seed(1)

    def near(tensor: Tensor) -> Tensor:
        return tensor + 0.05 * torch.randn(tensor.shape, generator=generator, dtype=torch.float64)

    vectors, buffers = game.initial(generator)
    vectors = {name: near(vector) for name, vector in vectors.items()}
    batch = {name: near(x) if x.is_floating_point() else x for name, x in game.draw(generator).items()}
    return vectors, buffers, batch


def directions(game: Adversarial, vectors: Vectors) -> Vectors:
    """Return random directions, zero along the rows that `padding_idx` holds fixed by definition."""
    generator = torch.Generator().manual_seed(2)
    along = {name: torch.randn(v.shape, generator=generator, dtype=v.dtype) for name, v in vectors.items()}
    for name, module in game.modules.items():
        fixed = {
            f"{prefix}.weight": part.padding_idx
            for prefix, part in module.named_modules()
            if isinstance(part, nn.Embedding) and part.padding_idx is not None
        }
        for parameter, view in game.layouts[name].unflatten(along[name]).items():
            if parameter in fixed:
                view[fixed[parameter]] = 0
    return along


def moved(vectors: Vectors, along: Vectors, step: float) -> Vectors:
    return {name: v + step * along[name] if name in along else v for name, v in vectors.items()}


def slope(function: Callable[[float], Tensor]) -> Tensor:
    return (function(STEP) - function(-STEP)) / (2 * STEP)


def near(derivative: Tensor, difference: Tensor) -> None:
    """Assert that a derivative equals a central difference, whose error is about 1e-7 of the function's values."""
    assert derivative.isfinite().all()
    assert (derivative - difference).norm() <= 3e-5 * max(1e-2, float(difference.norm()))


@pytest.mark.parametrize(("name", "player", "penalty"), CASES)
def test_derivatives_equal_central_differences(name: str, player: str, penalty: bool) -> None:
    game = game_of(name, player, penalty)
    vectors, buffers, batch = point_of(game)
    along = directions(game, vectors)
    field = vector_field(game, vectors, buffers, batch).field
    for mover, block in field.items():
        direction = {mover: along[mover]}
        loss = slope(
            lambda s, direction=direction, mover=mover: game.losses(moved(vectors, direction, s), buffers, batch)[0][
                mover
            ].detach()
        )
        near(block @ along[mover], loss)

    def half_square(s: float) -> Tensor:
        blocks = vector_field(game, moved(vectors, along, s), buffers, batch).field.values()
        return torch.stack([block.square().sum() for block in blocks]).sum() / 2

    _, pull = vector_jacobian(game, vectors, buffers, batch)
    near(torch.stack([pull[mover] @ along[mover] for mover in pull]).sum(), slope(half_square))
    _, _, push = field_products(game, vectors, buffers, batch)
    for mover in field:
        near(
            push[mover],
            slope(lambda s, mover=mover: vector_field(game, moved(vectors, field, s), buffers, batch).field[mover]),
        )


def flat(game: Adversarial, vectors: Vectors, buffers: Buffers, batch: Batch) -> Tensor:
    """Return v and Jᵀv in one vector."""
    evaluation, pull = vector_jacobian(game, vectors, buffers, batch)
    return torch.cat([*evaluation.field.values(), *pull.values()])


@pytest.mark.parametrize(("name", "penalty"), MAPPED)
def test_derivatives_under_vmap_equal_the_loop(name: str, penalty: bool) -> None:
    game = game_of(name, penalty=penalty)
    vectors, buffers, batch = point_of(game)
    others = {name: vector + 0.01 for name, vector in vectors.items()}
    both = {name: torch.stack([vector, others[name]]) for name, vector in vectors.items()}
    copies = {player: {n: torch.stack([b, b]) for n, b in named.items()} for player, named in buffers.items()}
    mapped = torch.vmap(lambda at, memory: flat(game, at, memory, batch))(both, copies)
    for actual, at in zip(mapped, (vectors, others), strict=True):
        torch.testing.assert_close(actual, flat(game, at, buffers, batch), rtol=1e-8, atol=1e-9)


@pytest.mark.parametrize(
    "name",
    ["LayerNorm", "InstanceNorm2d", "torch.batch_norm", "weight_norm parametrized", "ConvTranspose1d output padding"],
)
def test_traced_derivatives_equal_eager_ones(name: str) -> None:
    game = game_of(name, penalty=True)
    vectors, buffers, batch = point_of(game)

    def function(*blocks: Tensor) -> Tensor:
        return flat(game, dict(zip(vectors, blocks, strict=True)), buffers, batch)

    traced = make_fx(function)(*vectors.values())
    torch.testing.assert_close(traced(*vectors.values()), flat(game, vectors, buffers, batch), rtol=1e-8, atol=1e-9)


def test_a_layer_with_wrong_gradients_is_refused() -> None:
    with pytest.raises(InvalidValue, match="discriminator: got .*CrossMapLRN2d.*LocalResponseNorm"):
        game_with(lambda: nn.CrossMapLRN2d(3, 0.5), (4, 6, 6), "discriminator", False)


def test_a_layer_that_cannot_be_mapped_is_refused() -> None:
    game = game_of("RReLU in evaluation")
    vectors, buffers, batch = point_of(game)
    both = {name: torch.stack([vector, vector]) for name, vector in vectors.items()}
    with pytest.raises(InvalidValue, match="rrelu_with_noise.*torch.vmap"):
        torch.vmap(lambda at: flat(game, at, buffers, batch))(both)
