"""Products with the field's Jacobian J = v'(x) and its transpose."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import replace
from functools import partial

import torch
from torch import Tensor

from detente.autodiff.accumulation import averaged, parts_of, require_whole_batch
from detente.autodiff.engines import (
    Evaluation,
    as_leaves,
    functional_gradients,
    gradients_of,
    is_transformed,
    off_graph,
    products_with_rows,
    refused_by_name,
    taped_field,
    taped_gradients,
)
from detente.autodiff.exact_derivatives import exact, refusing
from detente.autodiff.field import vector_field
from detente.autodiff.over_ranks import evaluation_over_ranks, vectors_over_ranks, with_vectors_over_ranks
from detente.autodiff.tracing import recording
from detente.game import Batch, Buffers, Game, Vectors
from detente.ranks import mean_over_ranks, own_part
from detente.shortcuts.batch_norm import batch_norm_in_closed_form


def vector_jacobian(
    game: Game,
    vectors: Vectors,
    buffers: Buffers,
    batch: Batch,
    cotangent: Vectors | None = None,
    players: tuple[str, ...] | None = None,
    columns: tuple[str, ...] | None = None,
    parts: bool = False,
    over_ranks: bool = True,
    *,
    wanted: tuple[str, ...] | None = None,
) -> tuple[Evaluation, Vectors]:
    """Return v(x) and J(x)ᵀ u, from one forward pass.

    Args:
        game: the game.
        vectors: the point x, each player's (n_i,).
        buffers: the modules' buffers.
        batch: one batch, used for v and for J.
        cotangent: u, (n_i,) for each of `players`; default: v(x), so that J(x)ᵀ v(x) = ∇ ½‖v(x)‖².
        players: rows of J: players whose blocks of v are differentiated (default: all).
        columns: columns of J: players with respect to whose vectors v is differentiated (default: all).
        parts: whether each rank gets only its part of v and Jᵀu if ranks divide memory; see `detente.ranks.own_part`.
        over_ranks: whether ranks return the mean over all of them, or each the result on its own rows, for the same u.
    """
    if wanted is not None:
        warnings.warn("`wanted` is now `columns`; the next release removes the old name", DeprecationWarning, 2)
        columns = wanted
    players, columns, settings = players or game.players, columns or game.players, game.evaluation_settings
    if len(batches := parts_of(game, batch)) > 1:
        # Every part is multiplied by the u of the whole batch, so v(x) must be computed first, in an additional pass.
        u, unsplit = cotangent, game.with_settings(replace(settings, accumulate=1))
        u = u or vector_field(game, vectors, buffers, batch, players).field
        of_rows = partial(vector_jacobian, cotangent=u, players=players, columns=columns, over_ranks=False)
        evaluate = lambda part: of_rows(unsplit, vectors, buffers, part)  # noqa: E731
        return with_vectors_over_ranks(*averaged(evaluate, batches), parts)
    with refusing(game):
        if is_transformed(*vectors.values()):

            def blocks_at(point: Vectors) -> tuple[Vectors, tuple[dict[str, Tensor], Buffers]]:
                return functional_gradients(game, {**vectors, **point}, buffers, batch, players)

            blocks, pull, (losses, new_buffers) = torch.func.vjp(  # pyright: ignore[reportAssignmentType]
                blocks_at, {name: vectors[name] for name in columns}, has_aux=True
            )
            evaluation = Evaluation(blocks, losses, new_buffers)
        else:
            with recording(True):
                leaves = as_leaves(vectors, tuple(dict.fromkeys((*players, *columns))))
                with exact(game, True, _closed_forms(game, vectors)):
                    losses, new_buffers = game.losses(leaves, buffers, batch, players)
                blocks = gradients_of(game, losses, leaves, players, differentiable=True)

            def pull(u: Vectors) -> tuple[Vectors]:
                cotangents = [block.detach() for block in u.values()]
                products = products_with_rows([*blocks.values()], [leaves[name] for name in columns], cotangents)
                return (dict(zip(columns, products, strict=True)),)

            evaluation = off_graph(Evaluation(blocks, losses, new_buffers))
        if cotangent is None:
            evaluation = evaluation_over_ranks(evaluation)
        (product,) = pull({name: (cotangent or evaluation.field)[name] for name in players})
    if not over_ranks:
        return evaluation, product
    if cotangent is not None:
        return with_vectors_over_ranks(evaluation, product, parts)
    if parts:  # v is already that of all ranks, since it was u
        evaluation = replace(evaluation, field={name: own_part(v) for name, v in evaluation.field.items()})
    return evaluation, vectors_over_ranks(product, parts)


def _closed_forms(game: Game, vectors: Vectors) -> AbstractContextManager | None:
    """Return a context with closed forms of derivatives, which are faster on a CPU; None if they may not be used."""
    on_cpu = all(vector.device.type == "cpu" for vector in vectors.values())
    use = on_cpu and "batch_norm" in game.evaluation_settings.shortcuts
    return batch_norm_in_closed_form(getattr(game, "modules", None)) if use else None


@refused_by_name
def jacobian_vector(game: Game, vectors: Vectors, buffers: Buffers, batch: Batch, tangent: Vectors) -> Vectors:
    """Return J(x) u, the derivative of the field when each player moves along `tangent`, (n_i,) each.

    This uses reverse mode twice, since u ↦ Jᵀu is linear and its transpose is J. It works for every layer that can be
    differentiated twice.
    """
    names = game.players
    with torch.enable_grad():
        rows, columns = taped_field(game, vectors, buffers, batch)
        dummies = [torch.zeros_like(row).requires_grad_() for row in rows]
        transposed = products_with_rows(rows, columns, dummies, create_graph=True)
        product = products_with_rows(transposed, dummies, [tangent[name] for name in names])
    return vectors_over_ranks(dict(zip(names, product, strict=True)))


@refused_by_name
def transposed_jacobian(game: Game, vectors: Vectors, buffers: Buffers, batch: Batch) -> Callable[[Tensor], Tensor]:
    """Return the function u ↦ J(x)ᵀ u on stacked vectors (n,); the graph of v(x) is built once and retained.

    J and Jᵀ have the same eigenvalues, so this is the cheapest operator for a spectrum. For a matrix (k, n), it returns
    k products at once.
    """
    rows, columns = taped_field(game, vectors, buffers, batch)
    sizes = [row.numel() for row in rows]

    def product(u: Tensor) -> Tensor:
        cotangents = list(u.split(sizes, dim=-1))
        with refusing(game):
            products = products_with_rows(rows, columns, cotangents, retain_graph=True, is_grads_batched=u.dim() == 2)
        return mean_over_ranks([torch.cat(products, dim=-1)])[0]

    return product


@refused_by_name
def linearization(
    game: Game, vectors: Vectors, buffers: Buffers, batch: Batch
) -> tuple[Evaluation, Callable[[Vectors, tuple[str, ...]], Vectors]]:
    """Return v(x) and the function (u, columns) ↦ J(x)ᵀu; the graph of v is built once and retained.

    u may contain the blocks, (n_i,), of only some players; the others count as zero. `columns` are the players whose
    blocks of the product are returned.
    """
    require_whole_batch(game, "products with one and the same Jacobian")
    names = game.players
    if is_transformed(*vectors.values()):

        def blocks_at(point: Vectors) -> tuple[Vectors, tuple[dict[str, Tensor], Buffers]]:
            return functional_gradients(game, point, buffers, batch, names)

        blocks, pull, (losses, new_buffers) = torch.func.vjp(blocks_at, vectors, has_aux=True)  # pyright: ignore

        def mapped(u: Vectors, columns_for: tuple[str, ...]) -> Vectors:
            with refusing(game):
                (product,) = pull({name: u.get(name, torch.zeros_like(vectors[name])) for name in names})
            return vectors_over_ranks({name: product[name] for name in columns_for})

        return evaluation_over_ranks(Evaluation(blocks, losses, new_buffers)), mapped
    with torch.enable_grad():
        leaves = as_leaves(vectors, names)
        evaluation = taped_gradients(game, leaves, buffers, batch, names)

    def taped(u: Vectors, columns_for: tuple[str, ...]) -> Vectors:
        rows = [evaluation.field[name] for name in u]
        with refusing(game):
            product = products_with_rows(
                rows, [leaves[name] for name in columns_for], list(u.values()), retain_graph=True
            )
        return vectors_over_ranks(dict(zip(columns_for, product, strict=True)))

    return evaluation_over_ranks(off_graph(evaluation)), taped


@refused_by_name
def field_products(game: Game, vectors: Vectors, buffers: Buffers, batch: Batch) -> tuple[Evaluation, Vectors, Vectors]:
    """Return v(x), J(x)ᵀ v(x) and J(x) v(x), from one forward pass.

    The two products give those with the symmetric and the antisymmetric part of J. As in `jacobian_vector`, J v is the
    derivative of u ↦ Jᵀu, here at u = v, so that Jᵀv costs nothing extra.
    """
    require_whole_batch(game, "products with the Jacobian and its transpose")
    names = game.players
    if is_transformed(*vectors.values()):

        def blocks_at(point: Vectors) -> tuple[Vectors, tuple[dict[str, Tensor], Buffers]]:
            return functional_gradients(game, point, buffers, batch, names)

        def transposed(u: Vectors) -> Vectors:
            return torch.func.vjp(blocks_at, vectors, has_aux=True)[1](u)[0]

        blocks, (losses, new_buffers) = blocks_at(vectors)
        result = evaluation_over_ranks(Evaluation(blocks, losses, new_buffers))
        backward, pull = torch.func.vjp(transposed, result.field)  # pyright: ignore[reportAssignmentType]
        return result, *_pair_over_ranks(backward, pull(result.field)[0])
    with torch.enable_grad():
        leaves = as_leaves(vectors, names)
        evaluation = taped_gradients(game, leaves, buffers, batch, names)
        rows, columns = [evaluation.field[name] for name in names], [leaves[name] for name in names]
        result = evaluation_over_ranks(off_graph(evaluation))
        v = [result.field[name] for name in names]
        cotangents = [block.detach().requires_grad_() for block in v]
        backward = products_with_rows(rows, columns, cotangents, create_graph=True)
        forward = products_with_rows(backward, cotangents, v)
    products = (dict(zip(names, blocks, strict=True)) for blocks in ([b.detach() for b in backward], forward))
    return result, *_pair_over_ranks(*products)


def _pair_over_ranks(first: Vectors, second: Vectors) -> tuple[Vectors, Vectors]:
    """Return the means over ranks of two products, in one message."""
    both = mean_over_ranks([*first.values(), *second.values()])
    return dict(zip(first, both, strict=False)), dict(zip(second, both[len(first) :], strict=True))
