"""The dense Jacobian compared with a backward pass per row, leading eigenvalues with Jacobian-vector products."""

from __future__ import annotations

import time

import torch

from benchmarks import job_t
from benchmarks.row import Row, milliseconds
from benchmarks.timing import interleave, threads
from detente import methods
from detente.autodiff import jacobian, jacobian_vector, transposed_jacobian
from detente.diagnostics.jacobian_spectrum import leading_eigenvalues
from detente.game import Batch, Game
from detente.games import presets
from detente.state import State

DENSE, LEADING, PRODUCTS = 20.0, 1.5, 21


def run(quick: bool) -> list[Row]:
    """Return the ratios of the dense Jacobian and of the leading eigenvalues."""
    with threads(1):
        return [_dense(quick), _leading(quick)]


def _start(game: Game) -> tuple[State, Batch]:
    generator = torch.Generator().manual_seed(0)
    return methods.simultaneous().initial(game, generator), game.draw(generator)


def _dense(quick: bool) -> Row:
    game = presets.ring()
    state, batch = _start(game)
    size = sum(len(vector) for vector in state.vectors.values())
    product = transposed_jacobian(game, state.vectors, state.buffers, batch)
    unit = torch.zeros(size)
    unit[0] = 1
    row_count = 50  # rows computed in one timed call
    candidates = {
        "dense": lambda: jacobian(game, state.vectors, state.buffers, batch),
        "rows": lambda: [product(unit) for _ in range(row_count)],
    }
    timing = interleave(candidates, rounds=3 if quick else 9, warm_up=1)
    matrix = jacobian(game, state.vectors, state.buffers, batch)
    start = time.perf_counter()
    torch.linalg.eigvals(matrix)
    eigenvalue_seconds = time.perf_counter() - start
    return Row.of(
        f"Dense Jacobian of the {size:,}-parameter ring game: times faster than one backward pass a row",
        timing.ratio("rows", "dense").times(size / row_count),
        target=DENSE,
        sense="at least",
        detail=f"{timing.median('dense'):.2f} s; row by row {timing.median('rows') * size / row_count:.1f} s;"
        f" its eigenvalues then take {eigenvalue_seconds:.1f} s",
    )


def _leading(quick: bool) -> Row:
    game = job_t.game()
    state, batch = _start(game)
    size = sum(len(vector) for vector in state.vectors.values())
    generator = torch.Generator().manual_seed(1)
    tangent = {name: torch.randn(len(vector), generator=generator) for name, vector in state.vectors.items()}
    candidates = {
        "leading": lambda: leading_eigenvalues(game, state, batch, count=5),
        "products": lambda: [
            jacobian_vector(game, state.vectors, state.buffers, batch, tangent) for _ in range(PRODUCTS)
        ],
    }
    timing = interleave(candidates, rounds=5 if quick else 15)
    return Row.of(
        f"Top 5 complex eigenvalues of a {size:,}-parameter game, in units of {PRODUCTS} Jacobian-vector products",
        timing.ratio("leading", "products"),
        target=LEADING,
        detail=f"{milliseconds(timing.median('leading'))};"
        f" {PRODUCTS} products {milliseconds(timing.median('products'))}",
    )
