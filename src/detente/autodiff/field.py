"""The game's vector field v(x): each player's gradient of its own loss."""

from __future__ import annotations

from dataclasses import replace

from detente.autodiff.accumulation import averaged, parts_of
from detente.autodiff.engines import (
    Evaluation,
    as_leaf,
    as_leaves,
    functional_gradients,
    gradients_of,
    is_transformed,
    off_graph,
)
from detente.autodiff.exact_derivatives import exact, refusing
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
    over_ranks: bool = True,
) -> Evaluation:
    """Return v(x), or the blocks of some players: v_i = ∇_{x_i} L_i(x).

    Args:
        game: the game.
        vectors: the point x, each player's (n_i,).
        buffers: the modules' buffers.
        batch: one batch.
        players: players whose blocks are returned (default: all).
        parts: whether each rank gets only its part of the blocks if ranks divide memory, see `detente.ranks.own_part`.
        over_ranks: whether ranks return the mean over all of them, or each the result on its own rows.
    """
    players, settings = players or game.players, game.evaluation_settings
    if settings.accumulate > 1:
        # No cache, so that only one part's graph is in memory at a time.
        unsplit = game.with_settings(replace(settings, accumulate=1, forward_cache=None))
        evaluate = lambda part: (vector_field(unsplit, vectors, buffers, part, players, over_ranks=False), {})  # noqa: E731
        evaluation, _ = averaged(evaluate, parts_of(game, batch))
    elif is_transformed(*vectors.values()):
        with refusing(game):
            blocks, (losses, new_buffers) = functional_gradients(game, vectors, buffers, batch, players, False)
        evaluation = Evaluation(blocks, losses, new_buffers)
    else:
        cache = settings.forward_cache
        with refusing(game), recording(True):
            leaves = cache.leaves(vectors, players, as_leaf) if cache else as_leaves(vectors, players)
            with exact(game, False):
                losses, new_buffers = game.losses(leaves, buffers, batch, players)
            blocks = gradients_of(game, losses, leaves, players, keep=bool(cache))
        evaluation = off_graph(Evaluation(blocks, losses, new_buffers))
    return evaluation_over_ranks(evaluation, parts) if over_ranks else evaluation


def player_gradient(game: Game, player: str, vectors: Vectors, buffers: Buffers, batch: Batch) -> Evaluation:
    """Return one player's block of the field, ∇_{x_i} L_i(x)."""
    return vector_field(game, vectors, buffers, batch, (player,))
