"""The field's Jacobian J = v'(x) as a dense matrix."""

from __future__ import annotations

import torch
from torch import Tensor

from detente.autodiff.engines import products_with_rows, refused_by_name, taped_field
from detente.autodiff.exact_derivatives import exact
from detente.game import Batch, Buffers, Game, Vectors
from detente.ranks import mean_over_ranks, ranks
from detente.shortcuts.layered_jacobian import Layering, assembled, recorded


@refused_by_name
def jacobian(game: Game, vectors: Vectors, buffers: Buffers, batch: Batch, chunk: int = 64) -> Tensor:
    """Return the dense Jacobian J = v'(x), (n, n), with rows and columns in the order of `game.players`.

    Players made of linear layers are differentiated with respect to the layers' outputs, since these are fewer than
    the parameters.

    Args:
        game: the game.
        vectors: the point x, each player's (n_i,).
        buffers: the modules' buffers.
        batch: one batch.
        chunk: number of rows computed at once; their intermediate results should fit into the processor's cache.
    """
    rows, columns = taped_field(game, vectors, buffers, batch)
    dense = _layered_jacobian(game, vectors, buffers, batch, chunk) if ranks() is None else None
    if dense is not None and _is_jacobian(dense, rows, columns):
        return dense
    parts: list[Tensor] = []
    for row in rows:  # player by player: half the work, since a row depends on one player's gradient only
        for unit in torch.eye(len(row), dtype=row.dtype, device=row.device).split(chunk):
            products = products_with_rows([row], columns, [unit], retain_graph=True, is_grads_batched=True)
            parts.append(torch.cat(products, dim=-1))
    return mean_over_ranks([torch.cat(parts)])[0]


def _layered_jacobian(game: Game, vectors: Vectors, buffers: Buffers, batch: Batch, chunk: int) -> Tensor | None:
    """Return a matrix that is J unless samples mix, or None if linear layers do not hold all parameters."""
    if "layered_jacobian" not in game.evaluation_settings.shortcuts:
        return None
    vectors = {name: vectors[name].detach().clone() for name in game.players}  # each in its own storage
    with torch.enable_grad():
        with recorded(vectors) as calls, exact(game, True):
            losses, _ = game.losses(vectors, buffers, batch, game.players)
        layering = Layering.of(calls, vectors)
        if layering is None:
            return None
        shifts = [call.shift for call in calls]
        gradients = {
            name: torch.autograd.grad(loss, shifts, create_graph=True, allow_unused=True)
            if loss.requires_grad
            else [None] * len(shifts)
            for name, loss in losses.items()
        }

    def per_sample(outputs: Tensor, leaves: list[Tensor]) -> list[Tensor | None]:
        # Each output is differentiated for all samples at once: if samples do not mix, their derivatives are separate.
        units = torch.eye(outputs.shape[1], dtype=outputs.dtype, device=outputs.device).unsqueeze(1)
        options = {"retain_graph": True, "is_grads_batched": True, "allow_unused": True}
        rows_of_chunks = [
            torch.autograd.grad(outputs, leaves, part, **options)
            for part in units.expand(-1, len(outputs), -1).split(chunk)
        ]
        if len(rows_of_chunks) == 1:
            return list(rows_of_chunks[0])
        return [None if parts[0] is None else torch.cat(parts) for parts in zip(*rows_of_chunks, strict=True)]

    return assembled(calls, layering, gradients, per_sample)


def _is_jacobian(dense: Tensor, rows: list[Tensor], columns: list[Tensor]) -> bool:
    """Whether a matrix is J up to rounding: its products Jᵀu agree with autograd's, for a random u of each player."""
    sizes = [len(row) for row in rows]
    u = torch.randn(len(dense), dtype=dense.dtype, generator=torch.Generator().manual_seed(0)).to(dense.device)
    probes = torch.block_diag(*u.split(sizes))  # (players, n): one row per player, zero for the others
    blocks = list(probes.split(sizes, dim=-1))
    expected = products_with_rows(rows, columns, blocks, retain_graph=True, is_grads_batched=True)
    rounding = 100 * torch.finfo(dense.dtype).eps
    return all(
        bool(((product_row - product).norm(dim=-1) <= rounding * product.norm(dim=-1)).all())
        for product_row, product in zip((probes @ dense).split(sizes, dim=-1), expected, strict=True)
    )
