"""The Numerics of GANs: its lemmas on random matrices; one does not hold as printed."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from detente.experiments.base import Claim, Experiment, Findings, Track
from detente.experiments.support.interval_estimate import Estimate, at_least, within

if TYPE_CHECKING:
    from matplotlib.figure import Figure

TOLERANCE = 1e-9


def _share_true(name: str) -> Any:
    return lambda findings: Estimate.exact(100 * sum(findings[name]) / len(findings[name]), "%")


ALWAYS = at_least(100)


class NumericsLemmas(Experiment):
    """The share of random matrices for which each lemma holds."""

    title = "The lemmas on random matrices"
    paper = "Mescheder, Nowozin & Geiger 2017, The Numerics of GANs"
    figure = "Lemmas 4, 7, 9, 11 and 15"
    deviations = (
        "Lemma 9's c is bounded from below, by λ_min(A + Aᵀ)/‖A − Aᵀ‖₂, which makes both bounds looser.",
        "Lemma 9's printed bound q ≤ 1/(c + 2ρ²γ) forgets the factor |v̄ᵀ(A − Aᵀ)v|; with ‖A − Aᵀ‖₂ in it, it holds.",
    )
    tried = "Lemma 9 is false as printed; A = [[0, 1], [−1, 0]], γ = 1 has q = 1 and a printed bound of ½."
    sizes = {"smoke": {"count": 20}, "laptop": {"count": 2000}, "paper": {"count": 20_000}}
    claims = (
        Claim(
            "Lemma 4: |1 + hλ| < 1 for all λ exactly where h < 2 |Re λ|/|λ|²", _share_true("lemma 4"), ALWAYS, "always"
        ),
        Claim(
            "Lemma 7: (I − γAᵀ)A is negative definite for A ⪯ 0 invertible", _share_true("lemma 7"), ALWAYS, "always"
        ),
        Claim("Lemma 9 as printed: q ≤ 1/(c + 2ρ²γ)", _share_true("lemma 9 printed"), ALWAYS, "always"),
        Claim("Lemma 9 corrected: q ≤ 1/(c + 2ρ²γ/‖A − Aᵀ‖₂)", _share_true("lemma 9 corrected"), ALWAYS),
        Claim(
            "Lemma 11: λ(λ + γ) are the eigenvalues of v′ for λ those of G′", _share_true("lemma 11"), ALWAYS, "always"
        ),
        Claim(
            "Lemma 15: the mini-batch estimate of ½‖v‖² is too large by Var/(2B) (measured excess in these units)",
            lambda findings: Estimate.mean(findings["lemma 15"]),
            within(0.95, 1.05),
            "1",
        ),
    )

    def conduct(self, folder: Path, track: Track, **size: Any) -> Findings:
        """Return for each lemma whether it holds, matrix by matrix."""
        rng = np.random.default_rng(0)
        checks = {"lemma 4": _lemma_4, "lemma 7": _lemma_7, "lemma 11": _lemma_11, "lemma 15": _lemma_15}
        findings: Findings = {name: [] for name in (*checks, "lemma 9 printed", "lemma 9 corrected", "bounds")}
        for _ in track(range(size["count"]), "matrices", total=size["count"]):
            for name, check in checks.items():
                findings[name].append(check(rng))
            quotient, printed, corrected = _lemma_9_bounds(rng)
            findings["lemma 9 printed"].append(quotient <= printed * (1 + TOLERANCE))
            findings["lemma 9 corrected"].append(quotient <= corrected * (1 + TOLERANCE))
            findings["bounds"].append((quotient, printed, corrected))
        return findings

    def draw(self, findings: Findings, figure: Figure) -> None:
        """Plot both bounds of Lemma 9 against the quotient that they should exceed."""
        quotient, printed, corrected = np.array(findings["bounds"]).T
        axes = figure.add_subplot(1, 1, 1, xscale="log", yscale="log")
        axes.scatter(quotient, printed, s=8, label="as printed", color="C3")
        axes.scatter(quotient, corrected, s=8, label="corrected", color="C0")
        ends = [quotient.min(), quotient.max()]
        axes.plot(ends, ends, color="0.5", label="bound = q: must lie above")
        axes.set(title="Lemma 9", xlabel="q = max |Im λ|/|Re λ| of A − γAᵀA", ylabel="bound")
        axes.legend()


def _random_dissipative(rng: np.random.Generator, definite: bool) -> np.ndarray:
    """Return a random matrix of 2 to 6 rows with negative (semi-)definite symmetric part."""
    n = int(rng.integers(2, 7))
    rotation, factor = rng.normal(size=(n, n)), rng.normal(size=(n, n if definite else n - 1))
    return rng.uniform(0.1, 3) * (rotation - rotation.T) - rng.choice([0.01, 0.3]) * factor @ factor.T


def _lemma_4(rng: np.random.Generator) -> bool:
    values = np.linalg.eigvals(_random_dissipative(rng, definite=True))
    bound = (2 * np.abs(values.real) / np.abs(values) ** 2).min()
    inside = [np.abs(1 + share * bound * values).max() < 1 for share in (0.01, 0.5, 0.99, 1.01, 2.0)]
    return inside == [True, True, True, False, False]


def _lemma_7(rng: np.random.Generator) -> bool:
    matrix = _random_dissipative(rng, definite=False)
    product = (np.eye(len(matrix)) - rng.uniform(0.01, 10) * matrix.T) @ matrix
    if abs(np.linalg.det(matrix)) < 1e-6:  # the lemma requires an invertible matrix
        return True
    return bool(np.linalg.eigvalsh(product + product.T).max() < 0)


def _lemma_9_bounds(rng: np.random.Generator) -> tuple[float, float, float]:
    matrix, strength = _random_dissipative(rng, definite=True), rng.uniform(0.01, 10)
    values = np.linalg.eigvals(matrix - strength * matrix.T @ matrix)
    smallest = np.linalg.svd(matrix, compute_uv=False).min()
    # c bounds |v̄ᵀ(A + Aᵀ)v| / |v̄ᵀ(A − Aᵀ)v| from below over unit v.
    antisymmetric_norm = np.linalg.norm(matrix - matrix.T, 2)
    c = np.abs(np.linalg.eigvalsh(matrix + matrix.T)).min() / antisymmetric_norm
    shift = 2 * smallest**2 * strength
    return (
        float((np.abs(values.imag) / np.abs(values.real)).max()),
        1 / (c + shift),
        1 / (c + shift / antisymmetric_norm),
    )


def _lemma_11(rng: np.random.Generator) -> bool:
    matrix, strength = _random_dissipative(rng, definite=True), rng.uniform(0.1, 3)
    identity = np.eye(len(matrix))
    # Jacobian of G(x, m) = (m, v(x) − γ m), the damped second-order dynamics.
    joint = np.block([[0 * identity, identity], [matrix, -strength * identity]])
    values = np.linalg.eigvals(joint)
    from_joint, expected = values * (values + strength), np.linalg.eigvals(matrix)
    return bool(np.abs(from_joint[:, None] - expected).min(1).max() < 1e-6 * max(1.0, np.abs(expected).max()))


def _lemma_15(rng: np.random.Generator) -> float:
    n, batch = 5, int(rng.integers(2, 20))
    mean, deviation = rng.normal(size=n), rng.uniform(0.5, 2)
    samples = mean + deviation * rng.normal(size=(400, batch, n))
    excess = 0.5 * (samples.mean(1) ** 2).sum(1).mean() - 0.5 * (mean**2).sum()
    return float(excess / (n * deviation**2 / (2 * batch)))
