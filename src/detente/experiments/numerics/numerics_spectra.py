"""The Numerics of GANs, figure 3: eigenvalues of v′ and of w′ before and after training with consensus."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from detente import methods
from detente.diagnostics.jacobian_spectrum import jacobian_spectrum
from detente.experiments.base import Claim, Experiment, Findings, Track
from detente.experiments.support.interval_estimate import Estimate, above, below
from detente.experiments.support.resumable_training import train_or_resume
from detente.games import presets
from detente.training.loop import initial_progress
from detente.training.run import Run

if TYPE_CHECKING:
    from matplotlib.figure import Figure

NEGLIGIBLE = 1e-3  # eigenvalues of smaller modulus are flat directions (units that never fire)


class NumericsSpectra(Experiment):
    """Near the equilibrium v′ has eigenvalues close to the imaginary axis, and w′ has none."""

    title = "Eigenvalues of v′ and w′ before and after training with consensus"
    paper = "Mescheder, Nowozin & Geiger 2017, The Numerics of GANs"
    figure = "figure 3"
    deviations = (
        "Descent sign: the paper's left half plane is the right one here.",
        "w′ = v′ + γ v′ᵀ v′ as in the authors' notebook, exact at stationary points only.",
        "The authors' notebook keeps one row a tensor of each Jacobian; here the whole matrix is taken.",
        f"Eigenvalues of modulus below {NEGLIGIBLE:g} (units that never fire) are not counted as near the axis.",
    )
    sizes = {
        "smoke": {"steps": 20, "batches": 1, "width": 4},
        "laptop": {"steps": 20_000, "batches": 10, "width": 16},
        "paper": {"steps": 50_000, "batches": 10, "width": 16},
    }
    claims = (
        Claim(
            "After training v′ has eigenvalues close to the imaginary axis (share with |Im| > 3 |Re|), more than w′",
            lambda findings: Estimate.mean(
                _share_near_axis(findings["after"]["v"]) - _share_near_axis(findings["after"]["w"])
            ),
            above(0),
            "most of v′, none of w′ (picture)",
        ),
        Claim(
            "The regularised field's eigenvalues lie to the right: median Re λ of w′ less that of v′, after training",
            lambda findings: Estimate.mean(
                _median_real_part(findings["after"]["w"]) - _median_real_part(findings["after"]["v"])
            ),
            above(0),
        ),
        Claim(
            "… and its largest |Im/Re| is smaller: logarithm of the ratio of 99 % quantiles, w′ to v′, after training",
            lambda findings: Estimate.mean(
                _log_quotient(findings["after"]["w"]) - _log_quotient(findings["after"]["v"])
            ),
            below(0),
        ),
    )

    def conduct(self, folder: Path, track: Track, **size: Any) -> Findings:
        """Train one seed, and return eigenvalues on several batches before and after training."""
        game, method = presets.ring(width=size["width"]), methods.consensus(10.0)
        run = Run(game, method, size["steps"], (0,))
        training = train_or_resume(run, folder / "consensus", track)
        findings: Findings = {}
        for moment, state in {"before": initial_progress(run, 0).state, "after": training.states[0]}.items():
            generator = torch.Generator().manual_seed(1)
            plain, regularised = [], []
            for _ in track(range(size["batches"]), f"spectra {moment}", total=size["batches"]):
                spectrum = jacobian_spectrum(game, state, game.draw(generator), method)
                assert spectrum.regularised is not None
                plain.append(spectrum.eigenvalues.numpy())
                regularised.append(spectrum.regularised.numpy())
            findings[moment] = {"v": np.stack(plain), "w": np.stack(regularised)}
        return findings

    def draw(self, findings: Findings, figure: Figure) -> None:
        """Draw the eigenvalues of the first batch in the plane, clipped to the range of v′."""
        for row, (moment, spectra) in enumerate(findings.items()):
            limit = 1.2 * np.quantile(np.abs(spectra["v"][0]), 0.995) + 1e-6
            for column, (name, values) in enumerate(spectra.items()):
                axes = figure.add_subplot(2, 2, 2 * row + column + 1)
                eigenvalues = values[0]
                axes.scatter(
                    np.clip(eigenvalues.real, -limit, limit), np.clip(eigenvalues.imag, -limit, limit), s=4, alpha=0.5
                )
                axes.axvline(0, color="0.7", lw=0.8)
                axes.set(title=f"{name}′ {moment} training", xlabel="Re λ", ylabel="Im λ")


def _share_near_axis(batches: np.ndarray) -> np.ndarray:
    """Return each batch's share of eigenvalues near the imaginary axis."""
    return np.array([(np.abs(np.imag(v)) > 3 * np.abs(np.real(v))).mean() for v in map(_non_negligible, batches)])


def _median_real_part(batches: np.ndarray) -> np.ndarray:
    return np.array([np.median(np.real(v)) for v in map(_non_negligible, batches)])


def _log_quotient(batches: np.ndarray) -> np.ndarray:
    """Return the logarithm of each batch's 99 % quantile of |Im/Re|."""
    quotients = [np.abs(np.imag(v)) / np.maximum(np.abs(np.real(v)), 1e-12) for v in map(_non_negligible, batches)]
    return np.log([np.quantile(batch_quotients, 0.99) + 1e-12 for batch_quotients in quotients])


def _non_negligible(values: np.ndarray) -> np.ndarray:
    selected = values[np.abs(values) > NEGLIGIBLE]
    return selected if len(selected) else values
