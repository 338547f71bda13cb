"""The role of a diagnostic, and what diagnostics return."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor

from detente.errors import require
from detente.game import Game
from detente.methods.method import Method
from detente.state import State


@dataclass(frozen=True)
class DiagnosticContext:
    """The input of a diagnostic.

    Args:
        game: the game.
        method: the method of the training.
        state: the state to diagnose; it is not changed.
        generator: source of random numbers, never the one of the training.
        batches: number of batches for statistics.
        count: number of eigenvalues, if the game is too large for all.
    """

    game: Game
    method: Method
    state: State
    generator: torch.Generator
    batches: int
    count: int


@dataclass(frozen=True)
class Diagnosis:
    """The result of a diagnostic.

    Args:
        columns: headings of a table; () for none.
        rows: its rows.
        lines: lines printed below the table.
        findings: sentences, printed as a list.
        arrays: arrays by name, written into `folder` of the run directory, for the report.
        folder: where the arrays go.
    """

    columns: Sequence[str] = ()
    rows: Sequence[Sequence[str]] = ()
    lines: Sequence[str] = ()
    findings: Sequence[str] = ()
    arrays: Mapping[str, np.ndarray] = field(default_factory=dict)
    folder: str = ""


class Diagnostic(ABC):
    """A diagnosis of a trained game. `detente diagnose` runs every member of this folder.

    `rank` orders the diagnostics; `activity` is shown while one runs.
    """

    rank: ClassVar[int]
    activity: ClassVar[str]

    @abstractmethod
    def __call__(self, context: DiagnosticContext) -> Diagnosis:
        """Return the diagnosis. The context's state is not changed."""


@dataclass(frozen=True)
class Spectrum:
    """Eigenvalues of J = v'(x) in descent convention: a step x ← x − h v(x) contracts only where Re λ > 0.

    Args:
        eigenvalues: the eigenvalues of J, complex, (k,), on the CPU.
        regularised: the eigenvalues of w'(x), the Jacobian of the method's own field, complex, (k,); None if that field
            is v, or if its formula is not implemented.
        size: n, the number of parameters of all players; k = n if the spectrum is complete.
    """

    eigenvalues: Tensor
    regularised: Tensor | None
    size: int

    def __post_init__(self) -> None:
        require(self.eigenvalues.is_complex(), "eigenvalues", self.eigenvalues.dtype, "complex numbers")
        require(len(self.eigenvalues) <= self.size, "size", self.size, f"at least {len(self.eigenvalues)}, or k > n")

    @property
    def used(self) -> Tensor:
        """The eigenvalues that determine stability: `regularised` if present, otherwise `eigenvalues`."""
        return self.eigenvalues if self.regularised is None else self.regularised


@dataclass(frozen=True)
class GradientStatistics:
    """Statistics of one player's mini-batch gradients at a point.

    Args:
        norm: ‖ḡ‖, Euclidean norm of the mean over the batches.
        variance: tr Cov(g), for the gradient g of one mini-batch, estimated without bias.
        signal_to_noise: sqrt(|g|² / tr Cov(g)), with |g|² the square of the true gradient, estimated without bias; 0 if
            the estimate is not positive, infinite if there is no noise.
        cosine: mean cosine of the angle between the gradients of consecutive mini-batches, in [−1, 1].
        noise_scale: tr(Σ)/|g|² with Σ the covariance of a single sample's gradient: the batch size at which noise
            equals signal, in samples; infinite if there is no measurable signal.
    """

    norm: float
    variance: float
    signal_to_noise: float
    cosine: float
    noise_scale: float


def roundoff(eigenvalues: Tensor) -> float:
    """Return the modulus below which an eigenvalue counts as zero: k ε max|λ|, with the machine precision ε."""
    if not len(eigenvalues):
        return 0.0
    return len(eigenvalues) * torch.finfo(eigenvalues.dtype).eps * float(eigenvalues.abs().max())


def largest_steps(eigenvalues: Tensor) -> Tensor:
    """Return, for each λ, the bound on h for |1 − hλ| < 1: 2 Re λ/|λ|² if Re λ > 0, otherwise 0, float64, (k,).

    Source: Mescheder, Nowozin & Geiger 2017, The Numerics of GANs, Lemma 4, eq. 10 (descent sign).
    """
    values = eigenvalues.to(torch.complex128)
    square = values.abs().square()
    return torch.where(values.real > 0, 2 * values.real / square.clamp_min(torch.finfo(torch.float64).tiny), 0.0)
