"""The Numerics of GANs, figure 1: why steps must be small, and how consensus optimisation allows larger ones."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from detente.autodiff import jacobian
from detente.diagnostics.step_size_bound import step_size_bound
from detente.experiments.base import Claim, Experiment, Findings, Track
from detente.experiments.support.interval_estimate import Estimate, above, below, within
from detente.games.quadratic import Quadratic

if TYPE_CHECKING:
    from matplotlib.figure import Figure

IMAGINARY_PARTS = (0.5, 1.0, 2.0, 4.0)  # |Im λ| of the conjugate pairs
REAL_PART = 0.05  # Re λ of all eigenvalues
STRENGTH = 1.0


class NumericsDisc(Experiment):
    """Eigenvalues of x ↦ x − h v(x), and the unit disc in which they must lie."""

    title = "Eigenvalues projected into the unit disc"
    paper = "Mescheder, Nowozin & Geiger 2017, The Numerics of GANs"
    figure = "figure 1"
    deviations = (
        "The paper draws a sketch; here it is the game ½ε‖x‖² + xᵀBy − ½ε‖y‖² with ε = 0.05 and turns 0.5 to 4.",
    )
    sizes = {name: {} for name in ("smoke", "laptop", "paper")}
    claims = (
        Claim(
            "Eigenvalues near the imaginary axis force small steps: the largest stable step is O(q⁻²), q = max |Im/Re|",
            lambda findings: Estimate.exact(findings["bound"] * findings["ratio"] ** 2 / (2 / REAL_PART)),
            within(0.9, 1.1),
            "O(q⁻²)",
        ),
        Claim(
            "Even at the best step, simultaneous gradient contracts by nearly 1 a step (factor at the best step)",
            lambda findings: Estimate.exact(findings["best"]),
            above(0.99),
        ),
        Claim(
            "Consensus moves the eigenvalues away from the axis: the largest stable step grows (times larger)",
            lambda findings: Estimate.exact(findings["consensus bound"] / findings["bound"]),
            above(1),
        ),
        Claim(
            "… and the best step contracts faster (factor at the best step)",
            lambda findings: Estimate.exact(findings["consensus best"] - findings["best"]),
            below(0),
        ),
    )

    def conduct(self, folder: Path, track: Track, **size: Any) -> Findings:
        """Return eigenvalues, largest stable steps and best contractions of both fields."""
        damping = REAL_PART * torch.eye(len(IMAGINARY_PARTS), dtype=torch.float64)
        game = Quadratic(damping, torch.diag(torch.tensor(IMAGINARY_PARTS, dtype=torch.float64)), damping)
        vectors, buffers = game.initial(torch.Generator().manual_seed(0))
        jacobian_matrix = jacobian(game, vectors, buffers, {})
        consensus_matrix = jacobian_matrix + STRENGTH * jacobian_matrix.T @ jacobian_matrix
        findings: Findings = {}
        for prefix, values in (
            ("", torch.linalg.eigvals(jacobian_matrix)),
            ("consensus ", torch.linalg.eigvals(consensus_matrix)),
        ):
            bound = step_size_bound(values)
            steps = torch.linspace(0, bound, 2001, dtype=torch.float64)[1:]
            factors = (1 - steps[:, None] * values).abs().max(1).values
            findings |= {
                f"{prefix}eigenvalues": values.numpy(),
                f"{prefix}bound": bound,
                f"{prefix}best": float(factors.min()),
                f"{prefix}best step": float(steps[factors.argmin()]),
                f"{prefix}ratio": float((values.imag.abs() / values.real).max()),
            }
        return findings

    def draw(self, findings: Findings, figure: Figure) -> None:
        """Draw 1 − hλ for three steps with the unit disc, on rays from 1, for both fields."""
        figure.set_size_inches(9, 5)
        circle = np.exp(1j * np.linspace(0, 2 * np.pi, 200))
        for column, (prefix, name) in enumerate((("", "simultaneous gradient"), ("consensus ", "consensus, γ = 1"))):
            axes = figure.add_subplot(1, 2, column + 1, aspect="equal", xlim=(-1.4, 1.4), ylim=(-1.4, 1.4))
            axes.plot(np.real(circle), np.imag(circle), color="0.6", lw=1)
            values, bound = findings[f"{prefix}eigenvalues"], findings[f"{prefix}bound"]
            for step, colour in ((0.03, "C0"), (0.1, "C1"), (0.3, "C3")):
                points = 1 - step * values
                axes.scatter(np.real(points), np.imag(points), s=18, color=colour, zorder=3, label=f"h = {step:g}")
                for point in points:
                    axes.plot([1, np.real(point)], [0, np.imag(point)], color="0.85", lw=0.6)
            axes.set(title=f"{name}\nlargest stable h = {bound:.3g}", xlabel="Re (1 − hλ)", ylabel="Im (1 − hλ)")
            axes.legend(fontsize="small", loc="lower left")
