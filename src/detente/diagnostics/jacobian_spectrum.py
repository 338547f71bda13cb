"""Eigenvalues of the field's Jacobian, which show whether the game contracts or rotates near a point."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import numpy as np
import torch
from scipy.sparse.linalg import ArpackNoConvergence, LinearOperator, eigs
from torch import Tensor

from detente.autodiff import jacobian, transposed_jacobian
from detente.diagnostics.base import Diagnosis, Diagnostic, DiagnosticContext, Spectrum, roundoff
from detente.diagnostics.findings import spectrum_findings
from detente.diagnostics.step_size_bound import step_size_bound
from detente.errors import InvalidValue, require, unknown
from detente.fields.base import Field
from detente.fields.consensus import Consensus
from detente.fields.smoothing import Smoothing
from detente.game import Batch, Game
from detente.methods.method import Method
from detente.optimizers.base import Optimizer
from detente.optimizers.sgd import SGD
from detente.schedules.base import number
from detente.state import State

Which = Literal["LM", "LR", "SR", "LI"]
LARGEST = 5000  # parameters; the dense matrix takes n² numbers, its eigenvalues about 10 n³ operations
ORDERS: dict[str, Callable[[Tensor], Tensor]] = {
    "LM": lambda values: values.abs(),
    "LR": lambda values: values.real,
    "SR": lambda values: -values.real,
    "LI": lambda values: values.imag.abs(),
}


def jacobian_spectrum(game: Game, state: State, batch: Batch, method: Method | None = None) -> Spectrum:
    """Return all eigenvalues of J = v'(x), and those of the method's own field.

    For consensus w' = J + γ JᵀJ. For smoothing the second term is γ JᵀJ or γ Jᵀ P J in the regularised player's rows
    and zero in the others, where P selects the other players' rows. This is exact at stationary points, and the paper
    plots the same. At other points the exact w' has an additional term, γ Σᵢ vᵢ(x) ∇²vᵢ(x), which is omitted.

    Args:
        game: the game; at most 5000 parameters in total.
        state: the state; it does not change.
        batch: the batch that defines v and J.
        method: the method with the field w. If it is None, w = v or the formula is not implemented, `regularised` is
            None.

    Returns:
        The spectrum, complex64 for float32 games and complex128 for float64 ones.

    Raises:
        InvalidValue: there are too many parameters, or the Jacobian is not finite (the state has diverged).

    Source: Mescheder, Nowozin & Geiger 2017, The Numerics of GANs, section 5.1, figure 3 (descent sign).
    """
    size = _size(state)
    require(size <= LARGEST, "state", size, f"at most {LARGEST} parameters", "Use leading_eigenvalues for larger games")
    matrix = jacobian(game, state.vectors, state.buffers, batch).cpu()
    require(bool(matrix.isfinite().all()), "state", "a Jacobian that is not finite", "a point that has not diverged")
    regularisation = None if method is None else _regularisation(method.field.at(state.t.cpu()), matrix, game, state)
    with_regulariser = None if regularisation is None else torch.linalg.eigvals(matrix + regularisation)
    return Spectrum(torch.linalg.eigvals(matrix), with_regulariser, size)


def _regularisation(field: Field, matrix: Tensor, game: Game, state: State) -> Tensor | None:
    """Return w' − J at a stationary point, (n, n), or None if the field is v or its formula is not implemented."""
    if isinstance(field, Consensus):
        return number("strength", field.strength) * (matrix.T @ matrix)
    if isinstance(field, Smoothing):
        mask = torch.cat([torch.full((len(state.vectors[n]),), float(n == field.player)) for n in game.players])
        mask = mask.to(matrix)[:, None]
        unmasked = matrix if field.definition == "paper" else matrix * (1 - mask)
        return number("strength", field.strength) * mask * (matrix.T @ unmasked)
    return None


def leading_eigenvalues(
    game: Game,
    state: State,
    batch: Batch,
    count: int = 5,
    which: Which = "LM",
    tolerance: float = 1e-3,
    products: int = 1000,
) -> Spectrum:
    """Return some eigenvalues of J = v'(x) without forming J: implicitly restarted Arnoldi on u ↦ Jᵀu.

    Jᵀ has the same eigenvalues as J, and the graph of v is built once for all products. The starting vector is fixed,
    so the result is the same at each call. Arnoldi finds the outer eigenvalues of a spectrum; it can miss one deep
    inside (for example a small |Im λ| with "LI").

    Args:
        game: the game, of any size.
        state: the state; it does not change.
        batch: the batch that defines v and J.
        count: number of eigenvalues, ≥ 1.
        which: "LM" largest |λ|, "LR" largest Re λ, "SR" smallest Re λ (the least stable), "LI" largest |Im λ|.
        tolerance: relative accuracy of each eigenvalue, ≥ 0; 0 for machine precision.
        products: approximate maximum number of products Jᵀu, ≥ 1.

    Returns:
        The eigenvalues in the order of `which`; fewer than `count` if not all of them converged.

    Raises:
        InvalidValue: an argument is out of range, or a product is not finite (the state has diverged).

    Source: Lehoucq, Sorensen & Yang 1998, ARPACK Users' Guide (by SciPy).
    """
    if which not in ORDERS:
        raise unknown("which", which, ORDERS)
    require(count >= 1, "count", count, "an integer ≥ 1")
    require(tolerance >= 0, "tolerance", tolerance, "a number ≥ 0")
    require(products >= 1, "products", products, "an integer ≥ 1")
    size, first = _size(state), next(iter(state.vectors.values()))
    requested = count + 1  # an additional one, so that no conjugate pair is split
    arnoldi_vectors = max(2 * requested + 1, 20)  # ARPACK's default
    if arnoldi_vectors > size // 2:
        return _select(jacobian_spectrum(game, state, batch).eigenvalues, count, which, size)
    product = transposed_jacobian(game, state.vectors, state.buffers, batch)

    def transposed(u: np.ndarray) -> np.ndarray:
        tensor = torch.from_numpy(u.reshape(-1).copy()).to(first)
        result = product(tensor).cpu().numpy()
        if not np.isfinite(result).all():
            raise InvalidValue("state", "a Jacobian that is not finite", "a point that has not diverged")
        return result

    kind = np.dtype(str(first.dtype).removeprefix("torch."))
    operator = LinearOperator((size, size), matvec=transposed, dtype=kind)  # pyright: ignore[reportCallIssue]
    start = np.random.default_rng(0).standard_normal(size).astype(kind)
    rounds = max(1, products // (arnoldi_vectors - requested))
    try:
        options: Any = {"tol": tolerance, "maxiter": rounds, "return_eigenvectors": False}
        values = eigs(operator, requested, v0=start, which=which, **options)
    except ArpackNoConvergence as error:
        values = error.eigenvalues
    values = np.asarray(values, dtype=np.result_type(kind, np.complex64))  # real if nothing converged
    return _select(torch.from_numpy(values), count, which, size)


def _select(eigenvalues: Tensor, count: int, which: str, size: int) -> Spectrum:
    """Return the first `count` eigenvalues in the order of `which`."""
    order = ORDERS[which](eigenvalues).argsort(descending=True, stable=True)
    return Spectrum(eigenvalues[order[:count]], None, size)


def _size(state: State) -> int:
    return sum(len(vector) for vector in state.vectors.values())


@dataclass(frozen=True)
class Stability(Diagnostic):
    """Eigenvalues of the Jacobian, and the largest stable step: does the game contract here, and does it rotate?

    Args:
        dense: largest number of parameters for which all eigenvalues are computed, in about 20 seconds at 2,500; of a
            larger game, the largest and the least stable ones.

    Source: Mescheder, Nowozin & Geiger 2017, The Numerics of GANs, Lemma 4, eq. 10.
    """

    rank: ClassVar[int] = 20
    activity: ClassVar[str] = "eigenvalues of the Jacobian (up to half a minute)"

    dense: int = 2500

    def __post_init__(self) -> None:
        require(self.dense >= 0, "dense", self.dense, "an integer ≥ 0")

    def __call__(self, context: DiagnosticContext) -> Diagnosis:
        """Return the largest stable step, what the eigenvalues mean, and the eigenvalues for the report."""
        spectrum = self._spectrum(context)
        bound = step_size_bound(spectrum.used, neutral=roundoff(spectrum.used))
        line = f"Largest step h with |1 − hλ| < 1 for all nonzero eigenvalues (eq. 10): {bound:.3g}"
        arrays = {"eigenvalues": spectrum.eigenvalues.numpy()}
        if spectrum.regularised is not None:
            arrays["regularised"] = spectrum.regularised.numpy()
        sentences = spectrum_findings(spectrum, *_rate(context))
        return Diagnosis(lines=(line,), findings=sentences, arrays=arrays, folder="spectra")

    def _spectrum(self, context: DiagnosticContext) -> Spectrum:
        game, state = context.game, context.state
        batch = {name: tensor.to(state.t.device) for name, tensor in game.draw(context.generator).items()}
        batch, size = game.with_step(batch, state.t), _size(state)
        if size <= self.dense:
            return jacobian_spectrum(game, state, batch, context.method)
        spectra = [leading_eigenvalues(game, state, batch, context.count, which) for which in ("LM", "SR")]
        return Spectrum(torch.cat([spectrum.eigenvalues for spectrum in spectra]), None, size)


def _rate(context: DiagnosticContext) -> tuple[float | None, bool]:
    """Return the learning rate if it is one number, and whether an optimizer rescales the field."""
    optimizers: list[Optimizer] = list(context.method.optimizers(context.game.players).values())
    rates = {getattr(optimizer, "learning_rate", None) for optimizer in optimizers}
    rate = rates.pop() if len(rates) == 1 else None
    return (rate if isinstance(rate, float) else None), not all(isinstance(optimizer, SGD) for optimizer in optimizers)
