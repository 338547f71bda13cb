"""The gradient through an opponent's imagined moves."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from detente.autodiff.accumulation import require_whole_batch
from detente.autodiff.engines import (
    Evaluation,
    as_leaves,
    functional_gradients,
    is_transformed,
    off_graph,
    products_with_rows,
    refused_by_name,
    taped_gradients,
)
from detente.autodiff.exact_derivatives import exact
from detente.game import Batch, Buffers, Game, Vectors


@refused_by_name
def unrolled_gradient(
    game: Game,
    player: str,
    opponent: str,
    vectors: Vectors,
    buffers: Buffers,
    batch: Batch,
    move: Callable[[Tensor, Tensor, dict[str, Tensor]], tuple[Tensor, dict[str, Tensor]]],
    memory: dict[str, Tensor],
    steps: int,
) -> tuple[Evaluation, dict[str, Tensor]]:
    """Return ∇_x L_x(x, y_K(x)), where y_K is where the opponent goes from y in K moves, and differentiated too.

    Args:
        game: the game.
        player: x, who looks ahead.
        opponent: y, who moves in x's imagination.
        vectors: the point (x, y), each player's (n_i,).
        buffers: the modules' buffers, the same for all K moves.
        batch: one batch, used for everything.
        move: (y, ∇_y L_y, memory) ↦ (next y, next memory), differentiable.
        memory: what `move` remembers, before the first move.
        steps: K, ≥ 1.

    Returns:
        The gradient beside the opponent's own ∇_y L_y(x, y), each with its loss and after the opponent's first
        forward pass, and the memory that the opponent's first move left.
    """
    require_whole_batch(game, "the gradient through an opponent's imagined moves")
    mapped = is_transformed(*vectors.values())

    def imagined(x: Tensor) -> tuple[Tensor, tuple[Tensor, Vectors, dict[str, Tensor], Buffers, dict[str, Tensor]]]:
        at, optimizer_memory, first = {**as_leaves(vectors, () if mapped else (opponent,)), player: x}, memory, None
        for _ in range(steps):
            if mapped:
                blocks, (losses, after) = functional_gradients(game, at, buffers, batch, (opponent,))
            else:
                evaluation = taped_gradients(game, at, buffers, batch, (opponent,), differentiable=True)
                blocks, losses, after = evaluation.field, evaluation.losses, evaluation.buffers
            moved, optimizer_memory = move(at[opponent], blocks[opponent], optimizer_memory)
            at, first = {**at, opponent: moved}, first or (blocks, losses, after, optimizer_memory)
        with exact(game, False):
            loss = game.losses(at, buffers, batch, (player,))[0][player]
        assert first is not None
        return loss, (loss, *first)

    if mapped:
        block, (loss, blocks, losses, after, optimizer_memory) = torch.func.grad(imagined, has_aux=True)(
            vectors[player]
        )
    else:
        with torch.enable_grad():
            x = as_leaves(vectors, (player,))[player]
            loss, (_, blocks, losses, after, optimizer_memory) = imagined(x)
            (block,) = products_with_rows([loss], [x], [torch.ones_like(loss)])
    result = Evaluation({**blocks, player: block}, {**losses, player: loss}, after)
    return off_graph(result), {name: tensor.detach() for name, tensor in optimizer_memory.items()}
