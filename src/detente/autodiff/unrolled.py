"""The gradient through unrolled steps of an opponent."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

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
from detente.autodiff.over_ranks import evaluation_over_ranks
from detente.game import Batch, Buffers, Game, Vectors
from detente.ranks import ranks, sum_over_ranks


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
    parts: bool = False,
) -> tuple[Evaluation, dict[str, Tensor]]:
    """Return ∇_x L_x(x, y_K(x)), where y_K is the opponent's vector after K steps from y; y_K is differentiated too.

    Args:
        game: the game.
        player: x, the player whose gradient is computed.
        opponent: y, the player whose steps are unrolled.
        vectors: the point (x, y), each player's (n_i,).
        buffers: the modules' buffers, the same for all K steps.
        batch: one batch, used for all evaluations.
        move: (y, ∇_y L_y, memory) ↦ (next y, next memory), one differentiable step of the opponent.
        memory: memory of `move` before the first step.
        steps: K, ≥ 1.
        parts: whether each rank gets only its part of ∇_x L_x if ranks divide memory; see `detente.ranks.own_part`.

    Returns:
        The gradient together with the opponent's own ∇_y L_y(x, y), both losses and the buffers after the opponent's
        first forward pass; and the memory of `move` after the opponent's first step.
    """
    require_whole_batch(game, "the gradient through unrolled steps of an opponent")
    mapped = is_transformed(*vectors.values())

    def unrolled_loss(
        x: Tensor,
    ) -> tuple[Tensor, tuple[dict[str, Tensor], Vectors, dict[str, Tensor], Buffers, dict[str, Tensor]]]:
        point, optimizer_memory, first_step = (
            {**as_leaves(vectors, () if mapped else (opponent,)), player: x},
            memory,
            None,
        )
        for _ in range(steps):
            if mapped:
                blocks, (losses, new_buffers) = functional_gradients(game, point, buffers, batch, (opponent,))
            else:
                evaluation = taped_gradients(game, point, buffers, batch, (opponent,))
                blocks, losses, new_buffers = evaluation.field, evaluation.losses, evaluation.buffers
            if (current := ranks()) is not None:  # on the graph, since the other ranks' rows move the opponent too
                blocks = {opponent: sum_over_ranks(blocks[opponent]) / current.count}
            next_vector, optimizer_memory = move(point[opponent], blocks[opponent], optimizer_memory)
            point, first_step = (
                {**point, opponent: next_vector},
                first_step or (blocks, losses, new_buffers, optimizer_memory),
            )
        with exact(game, False):
            ahead = game.losses(point, buffers, batch, (player,))[0]
        assert first_step is not None
        return ahead[player], (ahead, *first_step)

    if mapped:
        block, (ahead, blocks, losses, new_buffers, optimizer_memory) = torch.func.grad(unrolled_loss, has_aux=True)(
            vectors[player]
        )
    else:
        with torch.enable_grad():
            x = as_leaves(vectors, (player,))[player]
            loss, (ahead, blocks, losses, new_buffers, optimizer_memory) = unrolled_loss(x)
            (block,) = products_with_rows([loss], [x], [torch.ones_like(loss)])
    result = off_graph(Evaluation({player: block}, {**losses, **ahead}, new_buffers))
    result = evaluation_over_ranks(result, parts)
    field = {name: gradient.detach() for name, gradient in blocks.items()} | result.field  # of all ranks already
    result = replace(result, field=field)
    return result, {name: tensor.detach() for name, tensor in optimizer_memory.items()}
