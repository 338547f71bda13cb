"""Evaluations of the whole batch from those of each rank's rows; without ranks, nothing is sent."""

from __future__ import annotations

from torch import Tensor

from detente.autodiff.engines import Evaluation
from detente.autodiff.exact_derivatives import exact
from detente.game import Batch, Buffers, Game, Vectors
from detente.ranks import mean_over_ranks, ranks
from detente.state import flatten, unflatten


def evaluation_over_ranks(evaluation: Evaluation, parts: bool = False) -> Evaluation:
    """Return the mean of an evaluation over ranks; field, losses and buffers are one message.

    With `parts`, each rank gets only its part of the blocks if ranks divide memory.
    """
    return evaluation if ranks() is None else with_vectors_over_ranks(evaluation, {}, parts)[0]


def vectors_over_ranks(vectors: Vectors, parts: bool = False) -> Vectors:
    """Return the mean of each vector over ranks, in one message; `parts` as of `evaluation_over_ranks`."""
    if ranks() is None:
        return vectors
    means = mean_over_ranks([*vectors.values()], range(len(vectors)) if parts else ())
    return dict(zip(vectors, means, strict=True))


def with_vectors_over_ranks(
    evaluation: Evaluation, vectors: Vectors, parts: bool = False
) -> tuple[Evaluation, Vectors]:
    """Return the mean of an evaluation and of additional vectors over ranks, in one message.

    With `parts`, each rank gets only its part of the blocks and of the vectors if ranks divide memory.
    """
    if ranks() is None:
        return evaluation, vectors
    tree = {"field": evaluation.field, "losses": evaluation.losses, "buffers": evaluation.buffers, "": vectors}
    flat = flatten(tree)
    divided = [index for index, name in enumerate(flat) if parts and name.startswith(("field/", "/"))]
    tree = unflatten(dict(zip(flat, mean_over_ranks([*flat.values()], divided), strict=True)), tree)
    vectors = tree.pop("")
    return Evaluation(**tree), vectors


def losses_at(
    game: Game, vectors: Vectors, buffers: Buffers, batch: Batch, players: tuple[str, ...]
) -> dict[str, Tensor]:
    """Return the losses, (), of some players, without derivatives; call it without recording gradients."""
    if ranks() is None:
        return game.losses(vectors, buffers, batch, players)[0]
    with exact(game, False):
        losses, _ = game.losses(vectors, buffers, batch, players)
    return vectors_over_ranks(losses)
