"""The two differentiation engines of this package; a test checks that they agree.

`torch.autograd.grad`, with one shared forward pass, for plain tensors, eager or traced for compilation; `torch.func`
inside `vmap`, where autograd's graph cannot be used.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
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
    """Decorator: make a derivative of a game raise `InvalidValue` if torch does not implement a required derivative."""

    @wraps(derivative)
    def called(game: Game, *args: Arguments.args, **kwargs: Arguments.kwargs) -> Result:
        with refusing(game):
            return derivative(game, *args, **kwargs)

    return called


@dataclass(frozen=True)
class Evaluation:
    """The value of a field at a point.

    Args:
        field: block of each evaluated player, (n_i,).
        losses: loss of each evaluated player, (), and in games that name them its terms, "player.term".
        buffers: the modules' buffers after the evaluation.
        extra: additional statistics for `Info`, ().
    """

    field: Vectors
    losses: dict[str, Tensor]
    buffers: Buffers
    extra: dict[str, Tensor] = dataclass_field(default_factory=dict)

    def losses_of(self, players: tuple[str, ...]) -> dict[str, Tensor]:
        """Return the losses of some players, in their order, and the terms of these, "player.term"."""
        return {
            name: loss for player in players for name, loss in self.losses.items() if name.partition(".")[0] == player
        }


def is_transformed(*tensors: Tensor) -> bool:
    """Whether `torch.func` transforms these tensors, so that autograd's graph cannot be used."""
    return any(map(torch._C._functorch.is_functorch_wrapped_tensor, tensors))  # pyright: ignore


def as_leaves(vectors: Vectors, players: tuple[str, ...]) -> Vectors:
    """Return the vectors, those of `players` as new leaves of autograd's graph."""
    return {name: as_leaf(v) if name in players else v for name, v in vectors.items()}


def as_leaf(vector: Tensor) -> Tensor:
    """Return a vector as a new leaf of autograd's graph."""
    return vector.detach().requires_grad_()


def off_graph(evaluation: Evaluation) -> Evaluation:
    """Return the evaluation, detached from autograd's graph."""
    return Evaluation(
        {name: block.detach() if block.requires_grad else block for name, block in evaluation.field.items()},
        {name: loss.detach() if loss.requires_grad else loss for name, loss in evaluation.losses.items()},
        {
            player: {name: buffer.detach() for name, buffer in named.items()} if named else named
            for player, named in evaluation.buffers.items()
        },
    )


def gradients(loss: Tensor, columns: list[Tensor], retain: bool, differentiable: bool = False) -> list[Tensor]:
    """Return the gradient of a loss, (), with respect to each of the columns, zero where it does not depend on them.

    The engine is called directly: the checks of `torch.autograd.grad` take as long as a small layer.
    """
    if loss.dim():  # a user's own game; torch explains the error
        return list(torch.autograd.grad(loss, columns, None, retain, differentiable, materialize_grads=True))
    run_backward, unit = torch.autograd.Variable._execution_engine.run_backward, torch.ones_like(loss)
    results = run_backward(
        (loss,), (unit,), retain, differentiable, tuple(columns), allow_unreachable=True, accumulate_grad=False
    )
    return [
        torch.zeros_like(column, requires_grad=differentiable) if gradient is None else gradient
        for gradient, column in zip(results, columns, strict=True)
    ]


def taped_gradients(
    game: Game,
    vectors: Vectors,
    buffers: Buffers,
    batch: Batch,
    players: tuple[str, ...],
) -> Evaluation:
    """Return the blocks of `players` from one forward pass, on autograd's graph, so that they can be differentiated."""
    with exact(game, True):
        losses, new_buffers = game.losses(vectors, buffers, batch, players)
    return Evaluation(gradients_of(game, losses, vectors, players, differentiable=True), losses, new_buffers)


def gradients_of(
    game: Game,
    losses: Mapping[str, Tensor],
    leaves: Vectors,
    players: tuple[str, ...],
    differentiable: bool = False,
    keep: bool = False,
) -> Vectors:
    """Return the gradient of each player's loss with respect to its own vector, (n_i,).

    Args:
        game: the game.
        losses: losses of `players` on autograd's graph, computed within `exact`.
        leaves: the vectors from which they were computed.
        players: players whose gradients are returned.
        differentiable: whether the gradients are part of the graph.
        keep: whether the graph is kept although they are not.
    """
    require_differentiable(game, losses.values(), differentiable)
    if not differentiable and (pair := _opponents(losses, players)):
        mover, other = pair
        block, opposed = gradients(losses[other], [leaves[mover], leaves[other]], keep)
        blocks = {mover: -block, other: opposed}
        return {name: blocks[name] for name in players}
    blocks: Vectors = {}
    for name in players:
        if not losses[name].requires_grad:  # a loss that the player cannot change
            blocks[name] = torch.zeros_like(leaves[name])
            continue
        retain = differentiable or keep or name != players[-1]
        (blocks[name],) = gradients(losses[name], [leaves[name]], retain, differentiable)
    return blocks


def _opponents(losses: Mapping[str, Tensor], players: tuple[str, ...]) -> tuple[str, str] | None:
    """Return two players of whom the first one's loss is −L on the graph of the other's loss L, if there are no more.

    One backward pass then gives both gradients, and the same numbers as two.
    """
    if len(players) == 2:
        for name, other in (players, players[::-1]):
            node, opposed = losses[name].grad_fn, losses[other]
            inputs = node.next_functions if node is not None and node.name() == "NegBackward0" else ()
            if inputs and inputs[0] == (opposed.grad_fn, opposed.output_nr):
                return name, other
    return None


def functional_gradients(
    game: Game, vectors: Vectors, buffers: Buffers, batch: Batch, players: tuple[str, ...], differentiable: bool = True
) -> tuple[Vectors, tuple[dict[str, Tensor], Buffers]]:
    """Return the results of `taped_gradients`, by `torch.func`. Compilation merges the repeated forward passes."""

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
    """Return Σ_i cotangentᵢᵀ ∂rowᵢ/∂column for each column; zeros if no row depends on it."""
    shapes = [(*cotangents[0].shape[:-1], *column.shape) for column in columns]  # (k, n_i) for k products at once
    pairs = [(row, u) for row, u in zip(rows, cotangents, strict=True) if row.requires_grad]
    if not pairs:
        return [column.new_zeros(shape) for column, shape in zip(columns, shapes, strict=True)]
    outputs, seeds = zip(*pairs, strict=True)
    grads = torch.autograd.grad(outputs, columns, seeds, materialize_grads=True, **options)
    # For k products at once, autograd returns zeros of an independent column only once.
    return [grad.expand(shape) for grad, shape in zip(grads, shapes, strict=True)]


def taped_field(game: Game, vectors: Vectors, buffers: Buffers, batch: Batch) -> tuple[list[Tensor], list[Tensor]]:
    """Return the blocks of v of all players on autograd's graph, and the leaves that they depend on."""
    with torch.enable_grad():
        leaves = as_leaves(vectors, game.players)
        blocks = taped_gradients(game, leaves, buffers, batch, game.players).field
    return [blocks[name] for name in game.players], [leaves[name] for name in game.players]
