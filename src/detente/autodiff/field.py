"""The game's vector field v(x): each player's gradient of its own loss."""

from __future__ import annotations

import torch

from detente.autodiff.accumulation import averaged, parts_of
from detente.autodiff.engines import (
    Evaluation,
    as_leaf,
    as_leaves,
    functional_gradients,
    is_transformed,
    off_graph,
    refused_by_name,
    taped_gradients,
)
from detente.game import Batch, Buffers, Game, Vectors


@refused_by_name
def vector_field(
    game: Game, vectors: Vectors, buffers: Buffers, batch: Batch, players: tuple[str, ...] | None = None
) -> Evaluation:
    """Return v(x), or the blocks of some players: v_i = ∇_{x_i} L_i(x).

    Args:
        game: the game.
        vectors: the point x, each player's (n_i,).
        buffers: the modules' buffers.
        batch: one batch.
        players: whose blocks (default: everybody's).
    """
    requested = players or game.players

    def evaluated(part: Batch) -> tuple[Evaluation, Vectors]:
        if is_transformed(*vectors.values()):
            blocks, (losses, after) = functional_gradients(game, vectors, buffers, part, requested, False)
            return Evaluation(blocks, losses, after), {}
        with torch.enable_grad():
            leaves = cache.leaves(vectors, requested, as_leaf) if cache else as_leaves(vectors, requested)
            evaluation = taped_gradients(game, leaves, buffers, part, requested, differentiable=False, keep=bool(cache))
            return off_graph(evaluation), {}

    parts = parts_of(game, batch)
    cache = game.settings.forward_cache if len(parts) == 1 else None  # of a split batch, one part's graph is held
    return averaged(evaluated, parts)[0]


def player_gradient(game: Game, player: str, vectors: Vectors, buffers: Buffers, batch: Batch) -> Evaluation:
    """Return one player's block of the field, ∇_{x_i} L_i(x)."""
    return vector_field(game, vectors, buffers, batch, (player,))
