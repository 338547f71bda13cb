"""A description in words of a spectrum and of gradient statistics."""

from __future__ import annotations

import math
from collections.abc import Mapping

from torch import Tensor

from detente.diagnostics.base import GradientStatistics, Spectrum, largest_steps, roundoff
from detente.errors import require

TURNING = 10.0  # |Im λ|/|Re λ| above which rotation dominates: the step must then be 100 times smaller (eq. 10)
COUNTED = 0.01  # smallest |λ| that counts for rotation, relative to the largest; smaller ones do not matter
VALIDITY = "All this describes the game near this point, linearised, on the batches that were evaluated."
NOISY = 3.0  # noise-to-signal ratio above which batches are too small: a 10 times larger batch brings it to about 1


def findings(
    spectrum: Spectrum,
    statistics: Mapping[str, GradientStatistics] | None = None,
    learning_rate: float | None = None,
    adaptive: bool = False,
) -> list[str]:
    """Return sentences about stability, step size, rotation and noise, most serious first within each topic.

    An eigenvalue counts as zero below `roundoff`, k ε max|λ|. Rotation dominates if |Im λ|/|Re λ| ≥ 10 for an
    eigenvalue of at least 1 % of the largest modulus. Noise is too large if it is at least 3 times the signal.

    Args:
        spectrum: a complete or partial spectrum.
        statistics: gradient statistics, by player.
        learning_rate: the step size in use, > 0.
        adaptive: whether the optimizer rescales the field (RMSProp, Adam), so that step sizes are not comparable.

    Source: Mescheder, Nowozin & Geiger 2017, The Numerics of GANs, Lemma 4 and section 3; the thresholds are ours.
    """
    require(learning_rate is None or learning_rate > 0, "learning_rate", learning_rate, "a number > 0, or None")
    sentences = spectrum_findings(spectrum, learning_rate, adaptive)
    return [*sentences, *noise_findings(statistics or {}), VALIDITY]


def spectrum_findings(spectrum: Spectrum, learning_rate: float | None = None, adaptive: bool = False) -> list[str]:
    """Return sentences about stability, step size and rotation; arguments as `findings`."""
    return [*_stability(spectrum), *_step(spectrum, learning_rate, adaptive), *_rotation(spectrum)]


def noise_findings(statistics: Mapping[str, GradientStatistics]) -> list[str]:
    """Return sentences about the noise of each player's gradients."""
    return [sentence for player, values in statistics.items() for sentence in _noise(player, values)]


def _stability(spectrum: Spectrum) -> list[str]:
    """Describe whether the field contracts: the numbers of negative, zero and positive real parts."""
    values, zero = spectrum.used, roundoff(spectrum.used)
    count = len(values)
    if not count:
        return [f"No eigenvalue of {spectrum.size:,} is known, so the stability is unknown."]
    negative = int((values.real < -zero).sum())
    marginal = int((values.real.abs() <= zero).sum())
    flat = int((values.abs() <= zero).sum())
    complete = count == spectrum.size
    field = "" if spectrum.regularised is None else " of the method's own field"
    among = f"{count:,}" if complete else f"{count:,} known"
    sentences = []
    if negative:
        least = float(values.real.min())
        sentences.append(
            f"{negative:,} of {among} eigenvalues{field} {_have(negative)} a negative real part "
            f"(down to {least:.2g}): the game does not contract here; it diverges in these directions."
        )
    if marginal > flat:
        turning = marginal - flat
        sentences.append(
            f"{turning:,} of {among} eigenvalues{field} {_have(turning)} an imaginary part and a real part "
            "of zero up to rounding: in these directions, simultaneous steps of any size spiral outwards."
        )
    if flat:
        sentences.append(
            f"{flat:,} of {among} eigenvalues{field} {'is' if flat == 1 else 'are'} zero up to rounding: flat "
            "directions, which neither attract nor repel."
        )
    if not negative and marginal == flat and count > flat:
        others = "all" if not flat else "all others"
        sentences.append(
            f"{others.capitalize()} ({count - flat:,} of {among}) eigenvalues{field} have a positive real part: "
            "small enough steps contract" + (" in these directions." if flat or not complete else ".")
        )
    if not complete:
        sentences.append(f"Only {count:,} of {spectrum.size:,} eigenvalues are known; the others may be worse.")
    return sentences


def _have(count: int) -> str:
    return "has" if count == 1 else "have"


def _step(spectrum: Spectrum, rate: float | None, adaptive: bool) -> list[str]:
    """Compare the learning rate with the largest stable step."""
    values = spectrum.used
    contracting = values[values.real > roundoff(values)]
    if not len(contracting):
        return []
    partial = len(contracting) < int((values.abs() > roundoff(values)).sum())
    bound = float(largest_steps(contracting).min())
    steps = (
        "plain simultaneous gradient descent" if spectrum.regularised is None else "simultaneous steps along its field"
    )
    sentence = f"The largest stable step for {steps} is {bound:.2g}"
    sentence += " in the directions that contract" if partial else ""
    if adaptive:
        shown_rate = "" if rate is None else f" (learning rate {rate:.2g})"
        return [f"{sentence}; your optimizer rescales the field{shown_rate}, so this limit does not apply."]
    if rate is None:
        return [sentence + "."]
    if rate < bound:
        return [f"{sentence}; you use {rate:.2g}, which is below it."]
    return [f"{sentence}; you use {rate:.2g}, which overshoots: use less than {bound:.2g}."]


def _rotation(spectrum: Spectrum) -> list[str]:
    """Describe whether rotation dominates attraction."""
    values = spectrum.used
    large = values[values.abs() >= max(COUNTED * _largest(values), math.ulp(0.0))]
    ratios = large.imag.abs().double() / large.real.abs().double()  # infinite on the imaginary axis
    turning = int((ratios >= TURNING).sum())
    if not turning:
        return []
    largest_ratio = float(ratios.max())
    shown = "is unbounded" if largest_ratio > 1e6 else f"up to {largest_ratio:,.0f}"
    advice = "consider consensus or extragradient" if spectrum.regularised is None else "consider a larger strength"
    return [f"Rotation dominates in {turning:,} of the {len(large):,} large eigenvalues: |Im|/|Re| {shown}; {advice}."]


def _largest(values: Tensor) -> float:
    return float(values.abs().max()) if len(values) else 0.0


def _noise(player: str, statistics: GradientStatistics) -> list[str]:
    """Describe whether one player's batches are too small."""
    if statistics.signal_to_noise == 0:
        return [f"No signal was found in the {player}'s gradient: at this batch size it is only noise."]
    ratio = 1 / statistics.signal_to_noise
    if ratio < NOISY:
        return []
    return [
        f"The {player}'s gradient noise is {ratio:.2g}x its signal: larger batches (noise equals signal at about "
        f"{statistics.noise_scale:,.0f} samples) or variance reduction will help."
    ]
