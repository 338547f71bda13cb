"""The game's vector field v(x): each player's gradient of its own loss."""

from __future__ import annotations

from dataclasses import replace

from detente.autodiff.accumulation import averaged, parts_of
from detente.autodiff.engines import (
    Evaluation,
    as_leaf,
    as_leaves,
    functional_gradients,
    is_transformed,
    off_graph,
    taped_gradients,
)
from detente.autodiff.exact_derivatives import refusing
from detente.autodiff.over_ranks import evaluation_over_ranks
from detente.autodiff.tracing import recording
from detente.game import Batch, Buffers, Game, Vectors


def vector_field(
    game: Game,
    vectors: Vectors,
    buffers: Buffers,
    batch: Batch,
    players: tuple[str, ...] | None = None,
    parts: bool = False,
) -> Evaluation:
    """Return v(x), or the blocks of some players: v_i = ∇_{x_i} L_i(x).

    Args:
        game: the game.
        vectors: the point x, each player's (n_i,).
        buffers: the modules' buffers.
        batch: one batch.
        players: players whose blocks are returned (default: all).
        parts: whether each rank gets only its part of the blocks if ranks divide memory, see `detente.ranks.own_part`.
    """
    return evaluation_over_ranks(_local_field(game, vectors, buffers, batch, players or game.players), parts)


def _local_field(
    game: Game, vectors: Vectors, buffers: Buffers, batch: Batch, requested: tuple[str, ...]
) -> Evaluation:
    """Return the blocks of some players for this rank's rows."""
    settings = game.evaluation_settings
    if settings.accumulate > 1:
        # No cache, so that only one part's graph is in memory at a time.
        unsplit = game.with_settings(replace(settings, accumulate=1, forward_cache=None))
        evaluate = lambda part: (_local_field(unsplit, vectors, buffers, part, requested), {})  # noqa: E731
        return averaged(evaluate, parts_of(game, batch))[0]
    with refusing(game):
        if is_transformed(*vectors.values()):
            blocks, (losses, new_buffers) = functional_gradients(game, vectors, buffers, batch, requested, False)
            return Evaluation(blocks, losses, new_buffers)
        cache = settings.forward_cache
        with recording(True):
            leaves = cache.leaves(vectors, requested, as_leaf) if cache else as_leaves(vectors, requested)
            evaluation = taped_gradients(game, leaves, buffers, batch, requested, False, keep=bool(cache))
        return off_graph(evaluation)


def player_gradient(game: Game, player: str, vectors: Vectors, buffers: Buffers, batch: Batch) -> Evaluation:
    """Return one player's block of the field, ∇_{x_i} L_i(x)."""
    return vector_field(game, vectors, buffers, batch, (player,))
