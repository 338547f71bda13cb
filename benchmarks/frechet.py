"""Fréchet distance of 2,048 features, by symmetric factors, compared with torchmetrics' general eigenvalues."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torchmetrics.image.fid import _compute_fid

from benchmarks.row import Row, milliseconds
from benchmarks.timing import interleave, threads
from detente.metrics.frechet import Moments, frechet_distance, moments

FEATURES, SAMPLES, SPEED_TARGET, TOLERANCE, THREADS = 2048, 5000, 5.0, 1e-4, (1, 2)


def run(quick: bool) -> list[Row]:
    """Return the speed-up over torchmetrics on one and two threads, and the relative difference of the distances."""
    generator = torch.Generator().manual_seed(0)
    scales = torch.linspace(0, -3, FEATURES).exp()  # the variances of Inception's features decay too
    mixing = torch.randn(FEATURES, FEATURES, generator=generator) / FEATURES**0.5
    real, fake = (torch.randn(SAMPLES, FEATURES, generator=generator) * scales @ mixing for _ in range(2))
    first, second = moments(real), moments(1.1 * fake + 0.02)
    statistics = first.mean, first.covariance, second.mean, second.covariance
    distance, reference = frechet_distance(first, second), float(_compute_fid(*statistics))
    difference = abs(distance - reference) / reference
    if difference > TOLERANCE:
        raise ArithmeticError(f"{distance} and torchmetrics' {reference} differ by {difference:.1e}")
    candidates = {
        "détente": lambda: frechet_distance(first, second),  # reuses the factor of the real set, as in training
        "from nothing": lambda: frechet_distance(Moments(first.mean, first.covariance), second),
        "torchmetrics": lambda: _compute_fid(*statistics),
    }
    return [_row(candidates, count, difference, quick) for count in THREADS]


def _row(candidates: dict[str, Callable[[], object]], count: int, difference: float, quick: bool) -> Row:
    with threads(count):
        timing = interleave(candidates, rounds=1 if quick else 5, warm_up=1)
    return Row.of(
        f"{FEATURES:,} features, {count} thread{'s' * (count > 1)}: times faster than torchmetrics",
        timing.ratio("torchmetrics", "détente"),
        target=SPEED_TARGET,
        sense="at least",
        detail=f"real set's factor kept, as while training: {milliseconds(timing.median('détente'))}; anew:"
        f" {milliseconds(timing.median('from nothing'))}; torchmetrics"
        f" {milliseconds(timing.median('torchmetrics'))}; relative difference {difference:.1e}",
    )
