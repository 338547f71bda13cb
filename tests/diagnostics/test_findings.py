"""Findings: the sentences about spectra and gradient statistics."""

from __future__ import annotations

import math

import pytest
import torch

from detente.diagnostics.base import GradientStatistics, Spectrum
from detente.diagnostics.findings import findings
from detente.errors import InvalidValue


def spectrum(*values: complex, regularised: list[complex] | None = None, size: int | None = None) -> Spectrum:
    eigenvalues = None if regularised is None else torch.tensor(regularised, dtype=torch.complex128)
    return Spectrum(torch.tensor(values, dtype=torch.complex128), eigenvalues, size or len(values))


def statistics(ratio: float, noise_scale: float = 100.0) -> GradientStatistics:
    return GradientStatistics(1.0, 1.0, ratio, 0.5, noise_scale)


def test_a_contracting_game() -> None:
    sentences = findings(spectrum(1, 2, 0.5), learning_rate=0.1)
    assert sentences[0] == "All (3 of 3) eigenvalues have a positive real part: small enough steps contract."
    assert (
        sentences[1]
        == "The largest stable step for plain simultaneous gradient descent is 1; you use 0.1, which is below it."
    )
    assert len(sentences) == 3 and "linearised" in sentences[2]


def test_too_large_a_step() -> None:
    assert "overshoots: use less than 1" in " ".join(findings(spectrum(2, 1), learning_rate=1.5))


def test_repelling_directions() -> None:
    sentences = findings(spectrum(1, -0.25, 0.5, -0.1))
    assert sentences[0].startswith(
        "2 of 4 eigenvalues have a negative real part (down to -0.25): the game does not contract"
    )
    assert (
        sentences[1]
        == "The largest stable step for plain simultaneous gradient descent is 2 in the directions that contract."
    )


def test_a_purely_rotating_game() -> None:
    sentences = " ".join(findings(spectrum(2j, -2j), learning_rate=0.1))
    assert "2 of 2 eigenvalues have an imaginary part and a real part of zero up to rounding" in sentences
    assert "Rotation dominates in 2 of the 2 large eigenvalues: |Im|/|Re| is unbounded" in sentences
    assert "consensus or extragradient" in sentences and "largest stable step" not in sentences


def test_rotation_with_weak_attraction() -> None:
    sentences = " ".join(findings(spectrum(1 + 340j, 1 - 340j, 300, 1e-9 + 1e-6j)))
    assert "Rotation dominates in 2 of the 3 large eigenvalues: |Im|/|Re| up to 340" in sentences
    assert "Rotation" not in " ".join(findings(spectrum(1 + 5j, 1 - 5j)))


def test_flat_directions_are_neither_stable_nor_unstable() -> None:
    sentences = findings(spectrum(1, 1e-20, -1e-20))
    assert sentences[0].startswith("2 of 3 eigenvalues are zero up to rounding")
    assert sentences[1].startswith("All others (1 of 3) eigenvalues have a positive real part")


def test_stability_is_judged_by_the_methods_field() -> None:
    sentences = " ".join(findings(spectrum(1j, -1j, regularised=[1 + 1j, 1 - 1j]), learning_rate=0.1))
    assert "(2 of 2) eigenvalues of the method's own field have a positive real part" in sentences
    assert "The largest stable step for simultaneous steps along its field is 1; you use 0.1" in sentences


def test_adaptive_optimizers_are_not_judged_by_the_bound() -> None:
    sentences = " ".join(findings(spectrum(2, 1), learning_rate=5.0, adaptive=True))
    assert (
        "rescales the field (learning rate 5), so this limit does not apply" in sentences
        and "overshoots" not in sentences
    )


def test_a_partial_spectrum_is_reported_as_partial() -> None:
    sentences = " ".join(findings(spectrum(1, 2, size=42_703)))
    assert "Only 2 of 42,703 eigenvalues are known; the others may be worse." in sentences
    assert "2 of 2 known" in sentences


def test_noise() -> None:
    sentences = findings(spectrum(1), {"generator": statistics(2.0), "discriminator": statistics(0.125, 4096)})
    noisy = [sentence for sentence in sentences if "noise" in sentence]
    assert noisy == [
        "The discriminator's gradient noise is 8x its signal: larger batches (noise equals signal at about "
        "4,096 samples) or variance reduction will help."
    ]
    assert "only noise" in " ".join(findings(spectrum(1), {"generator": statistics(0.0, math.inf)}))
    assert "noise" not in " ".join(findings(spectrum(1), {"x": statistics(math.inf, 0.0)}))


def test_arguments_are_checked() -> None:
    with pytest.raises(InvalidValue, match="learning_rate"):
        findings(spectrum(1), learning_rate=0.0)
    with pytest.raises(InvalidValue, match="complex"):
        Spectrum(torch.ones(2), None, 2)
    with pytest.raises(InvalidValue, match="size"):
        spectrum(1, 2, size=1)
