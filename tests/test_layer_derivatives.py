"""Every layer of torch.nn that can stand in a player, held to central differences at first, second and third order.

The field is differentiated once, its Jacobian twice, and with a penalty one order more. What is right eagerly is then
compared with itself mapped over seeds and traced for compilation.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.fx.experimental.proxy_tensor import make_fx

from detente.derivatives import field_products, vector_field, vector_jacobian
from detente.errors import InvalidValue
from detente.game import Batch, Buffers, Vectors
from detente.games.adversarial import Adversarial
from detente.penalties.r1 import R1
from tests.layer_table import TABLE, Builder

STEP = 1e-5  # of the central differences
CASES = [
    pytest.param(*TABLE[name], player, penalty, id=f"{name}, {player}{', penalty' if penalty else ''}")
    for name in TABLE
    for player, penalty in (("generator", False), ("discriminator", False), ("discriminator", True))
]
Point = tuple[Vectors, Buffers, Batch]


def network(layer: Builder, shape: tuple[int, ...], inputs: int, outputs: int) -> nn.Module:
    """Return the layer between two linear ones, in float64."""
    body = nn.Sequential(nn.Linear(inputs, math.prod(shape)), nn.Unflatten(1, shape), layer(), nn.Flatten()).double()
    width = body(torch.randn(6, inputs, dtype=torch.float64)).shape[1]
    return nn.Sequential(*body, nn.Linear(width, outputs).double())


def plain(inputs: int, outputs: int) -> nn.Module:
    return nn.Sequential(nn.Linear(inputs, 5), nn.Tanh(), nn.Linear(5, outputs)).double()


def game_of(
    layer: Builder, shape: tuple[int, ...], player: str = "discriminator", penalty: bool = False
) -> Adversarial:
    """Return a game with the layer in one player."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        inside = network(layer, shape, *((3, 2) if player == "generator" else (2, 1)))
        players = (inside, plain(2, 1)) if player == "generator" else (plain(3, 2), inside)
    data = torch.randn(32, 2, generator=torch.Generator().manual_seed(0))
    return Adversarial(*players, data, 3, "non_saturating", R1(0.7) if penalty else (), batch=6)


def point_of(game: Adversarial) -> Point:
    """Return a point near the start, where no two numbers are equal by construction."""
    generator = torch.Generator().manual_seed(1)
    vectors, buffers = game.initial(generator)
    vectors = {n: v + 0.05 * torch.randn(v.shape, generator=generator, dtype=v.dtype) for n, v in vectors.items()}
    batch = {n: x.double() if x.is_floating_point() else x for n, x in game.draw(generator).items()}
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
    """Hold a derivative to a central difference, whose own error is about 1e-7 of what it is a difference of."""
    assert derivative.isfinite().all()
    assert (derivative - difference).norm() <= 3e-5 * max(1e-2, float(difference.norm()))


@pytest.mark.parametrize(("layer", "shape", "player", "penalty"), CASES)
def test_derivatives_are_central_differences(
    layer: Builder, shape: tuple[int, ...], player: str, penalty: bool
) -> None:
    game = game_of(layer, shape, player, penalty)
    vectors, *rest = point_of(game)
    along = directions(game, vectors)
    field = vector_field(game, vectors, *rest).field
    for name, block in field.items():
        own = {name: along[name]}
        loss = slope(lambda s, own=own, name=name: game.losses(moved(vectors, own, s), *rest)[0][name].detach())
        near(block @ along[name], loss)

    def half_square(s: float) -> Tensor:
        blocks = vector_field(game, moved(vectors, along, s), *rest).field.values()
        return torch.stack([block.square().sum() for block in blocks]).sum() / 2

    _, pull = vector_jacobian(game, vectors, *rest)
    near(torch.stack([pull[name] @ along[name] for name in pull]).sum(), slope(half_square))
    _, _, push = field_products(game, vectors, *rest)
    for name in field:
        near(push[name], slope(lambda s, name=name: vector_field(game, moved(vectors, field, s), *rest).field[name]))


def flat(game: Adversarial, vectors: Vectors, buffers: Buffers, batch: Batch) -> Tensor:
    """Return v and Jᵀv in one vector."""
    evaluation, pull = vector_jacobian(game, vectors, buffers, batch)
    return torch.cat([*evaluation.field.values(), *pull.values()])


# Their names say nothing about samples or seeds: torch.vmap has no rule for them.
UNMAPPED = {
    "FractionalMaxPool3d", "AdaptiveMaxPool1d", "AdaptiveMaxPool3d", "MaxPool3d", "MaxUnpool2d", "grid_sample",
}  # fmt: skip


@pytest.mark.parametrize("penalty", [False, True], ids=["", "penalty"])
@pytest.mark.parametrize("name", [name for name in TABLE])
def test_mapped_over_seeds_they_are_the_same(name: str, penalty: bool) -> None:
    """Or refused in a line."""
    game = game_of(*TABLE[name], penalty=penalty)
    vectors, *rest = point_of(game)
    expected = flat(game, vectors, *rest)
    others = {key: vector + 0.01 for key, vector in vectors.items()}
    both = {key: torch.stack([vector, others[key]]) for key, vector in vectors.items()}
    try:
        mapped = torch.vmap(lambda at: flat(game, at, *rest))(both)
    except InvalidValue as refusal:
        assert "map" in str(refusal)  # noqa: PT017
        return
    torch.testing.assert_close(mapped[0], expected, rtol=1e-8, atol=1e-9)
    torch.testing.assert_close(mapped[1], flat(game, others, *rest), rtol=1e-8, atol=1e-9)


@pytest.mark.parametrize("penalty", [False, True], ids=["", "penalty"])
@pytest.mark.parametrize("name", ["LayerNorm"])
def test_traced_they_are_the_same(name: str, penalty: bool) -> None:
    game = game_of(*TABLE[name], penalty=penalty)
    vectors, *rest = point_of(game)

    def function(*blocks: Tensor) -> Tensor:
        return flat(game, dict(zip(vectors, blocks, strict=True)), *rest)

    traced = make_fx(function)(*vectors.values())
    torch.testing.assert_close(traced(*vectors.values()), flat(game, vectors, *rest), rtol=1e-8, atol=1e-9)
