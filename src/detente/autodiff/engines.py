"""The two engines by which everything here is differentiated; a test holds them equal.

`torch.autograd.grad` with one shared forward pass wherever tensors are plain, eager or being traced for compilation;
`torch.func` inside `vmap`, where autograd's tape cannot be used.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from dataclasses import field as dataclass_field
from functools import wraps
from typing import Concatenate, ParamSpec, TypeVar

import torch
from torch import Tensor

from detente.autodiff.exact_derivatives import exact, refusing, require_differentiable
from detente.game import Batch, Buffers, Game, Vectors

Arguments = ParamSpec("Arguments")


Result = TypeVar("Result")


def refused_by_name(
    derivative: Callable[Concatenate[Game, Arguments], Result],
) -> Callable[Concatenate[Game, Arguments], Result]:
    """Return a derivative of a game that raises `InvalidValue` where torch lacks a derivative that it needs."""

    @wraps(derivative)
    def called(game: Game, *args: Arguments.args, **kwargs: Arguments.kwargs) -> Result:
        with refusing(game):
            return derivative(game, *args, **kwargs)

    return called


@dataclass(frozen=True)
class Evaluation:
    """A field at a point.

    Args:
        field: block of each evaluated player, (n_i,).
        losses: loss of each evaluated player, ().
        buffers: the modules' buffers after the evaluation.
        extra: what a field adds for `Info`, ().
    """

    field: Vectors
    losses: dict[str, Tensor]
    buffers: Buffers
    extra: dict[str, Tensor] = dataclass_field(default_factory=dict)


def is_transformed(*tensors: Tensor) -> bool:
    """Whether `torch.func` is at work on these tensors, so that autograd's tape cannot be used."""
    return any(torch._C._functorch.is_functorch_wrapped_tensor(tensor) for tensor in tensors)  # pyright: ignore


def as_leaves(vectors: Vectors, players: tuple[str, ...]) -> Vectors:
    """Return the vectors with those of `players` as fresh leaves of autograd's graph."""
    return {name: as_leaf(v) if name in players else v for name, v in vectors.items()}


def as_leaf(vector: Tensor) -> Tensor:
    """Return a vector as a fresh leaf of autograd's graph."""
    return vector.detach().requires_grad_()


def off_graph(evaluation: Evaluation) -> Evaluation:
    """Return the evaluation off autograd's graph."""
    return Evaluation(
        {name: block.detach() for name, block in evaluation.field.items()},
        {name: loss.detach() for name, loss in evaluation.losses.items()},
        {player: {n: b.detach() for n, b in named.items()} for player, named in evaluation.buffers.items()},
    )


def taped_gradients(
    game: Game,
    vectors: Vectors,
    buffers: Buffers,
    batch: Batch,
    players: tuple[str, ...],
    differentiable: bool,
    forms: AbstractContextManager | None = None,
    keep: bool = False,
) -> Evaluation:
    """Return the blocks of `players` from one forward pass within `forms`, on autograd's graph if `differentiable`.

    Its graph is freed, unless the blocks are on it or `keep` is set.
    """
    with exact(game, differentiable, forms):
        losses, new_buffers = game.losses(vectors, buffers, batch, players)
    require_differentiable(game, losses.values(), False)
    blocks = {}
    for name in players:
        if not losses[name].requires_grad:  # a loss that the player cannot change
            blocks[name] = torch.zeros_like(vectors[name])
            continue
        retain = differentiable or keep or name != players[-1]
        (block,) = torch.autograd.grad(
            losses[name], vectors[name], retain_graph=retain, create_graph=differentiable, materialize_grads=True
        )
        blocks[name] = block
    if differentiable:
        require_differentiable(game, blocks.values(), True)
    return Evaluation(blocks, losses, new_buffers)


def functional_gradients(
    game: Game, vectors: Vectors, buffers: Buffers, batch: Batch, players: tuple[str, ...], differentiable: bool = True
) -> tuple[Vectors, tuple[dict[str, Tensor], Buffers]]:
    """Return what `taped_gradients` returns, by `torch.func`; the repeated forward passes are merged when compiled."""

    def loss(vector: Tensor, name: str) -> tuple[Tensor, tuple[dict[str, Tensor], Buffers]]:
        with exact(game, differentiable):
            losses, new_buffers = game.losses({**vectors, name: vector}, buffers, batch, players)
        return losses[name], (losses, new_buffers)

    blocks, auxiliary = {}, None
    for name in players:
        blocks[name], auxiliary = torch.func.grad(loss, has_aux=True)(vectors[name], name)
    assert auxiliary is not None
    return blocks, auxiliary


def products_with_rows(
    rows: list[Tensor], columns: list[Tensor], cotangents: list[Tensor], **options: bool
) -> list[Tensor]:
    """Return Σ_i givenᵢᵀ ∂rowᵢ/∂column for each column; zeros where nothing depends on it."""
    shapes = [(*cotangents[0].shape[:-1], *column.shape) for column in columns]  # (k, n_i) for k products at once
    live = [(row, u) for row, u in zip(rows, cotangents, strict=True) if row.requires_grad]
    if not live:
        return [column.new_zeros(shape) for column, shape in zip(columns, shapes, strict=True)]
    outputs, seeds = zip(*live, strict=True)
    grads = torch.autograd.grad(outputs, columns, seeds, materialize_grads=True, **options)
    # Of k products at once, autograd gives the zeros where nothing depends on a column only once.
    return [grad.expand(shape) for grad, shape in zip(grads, shapes, strict=True)]


def taped_field(game: Game, vectors: Vectors, buffers: Buffers, batch: Batch) -> tuple[list[Tensor], list[Tensor]]:
    """Return everybody's blocks of v on autograd's graph, and the leaves they depend on."""
    with torch.enable_grad():
        leaves = as_leaves(vectors, game.players)
        blocks = taped_gradients(game, leaves, buffers, batch, game.players, differentiable=True).field
    return [blocks[name] for name in game.players], [leaves[name] for name in game.players]
