"""The units of a GAN's data: where its samples are, and how far they spread."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from detente.data.base import StoredData
from detente.modules.output_range import SCALES, bounds
from detente.modules.rescaled import Units

COLUMNS, REAL, FAKE = 64, 4096, 64
LATENT_SIZES = 0.02, 20.0  # root mean squares of latents with which usual initial weights work
NUMBERS = 2**22


def real_samples(gan: Any) -> Tensor:
    """Return real samples, always the same ones, (count, …), float64: all of a small set."""
    generator = torch.Generator().manual_seed(0)
    first = gan.real(1, generator)
    count = min(REAL, max(64, NUMBERS // first.numel()))
    data = getattr(gan.game, "data", None)
    if isinstance(data, StoredData) and gan.real_entry == "real" and data.size <= count:
        return gan.real_of(data.take(torch.arange(data.size))).double()
    return gan.real(count, generator).double()


def spread(real: Tensor) -> tuple[Tensor, Tensor]:
    """Return mean and standard deviation: of each column of points and tables, otherwise of all numbers."""
    columns = real.dim() == 2 and real.shape[1] <= COLUMNS
    mean, deviation = (real.mean(0), real.std(0)) if columns else (real.mean(), real.std())
    return mean, torch.where(deviation > 0, deviation, 1.0)


def units_for(gan: Any, role: str = "generator") -> Units:
    """Return the units in which the network of a role should work.

    They are the same for both, unless the generator's outputs are bounded otherwise than by −1 and 1: a discriminator
    learns slowly from numbers in [0, 1].
    """
    real = real_samples(gan)
    mean, deviation = spread(real)
    low, high = _bounds(gan)
    if role == "discriminator":
        low, high = (-1.0, 1.0) if low is not None and high is not None else (None, None)
    columns = mean.dim() > 0
    least, greatest = (real.amin(0), real.amax(0)) if columns else (real.min(), real.max())
    if low is not None and high is not None and high > low:
        width = torch.where(greatest > least, greatest - least, 1.0)
        offset, scale = least - low * width / (high - low), width / (high - low)
    elif low is not None:
        offset, scale = least - low * deviation, deviation
    elif high is not None:
        offset, scale = greatest - high * deviation, deviation
    else:
        offset, scale = mean, deviation
    return Units(offset.float(), scale.float())


def latent_size(gan: Any) -> float | None:
    """Return the root mean square of the generator's latents; None if its first input is not a vector of numbers."""
    generator = torch.Generator().manual_seed(0)
    vectors, buffers = gan.game.initial(generator)
    calls = gan.generator_inputs(vectors, buffers, gan.batch(generator), generator)
    first = calls[0].inputs[0] if calls and calls[0].inputs else None
    if not isinstance(first, Tensor) or not first.is_floating_point() or first.numel() == 0 or first.dim() < 2:
        return None
    if first[0].numel() != first.shape[1]:  # pictures, in image-to-image games
        return None
    return float(first.double().square().mean().sqrt())


def _bounds(gan: Any) -> tuple[float | None, float | None]:
    """Return the bounds of the generator's outputs."""
    vectors, buffers = gan.game.initial(torch.Generator().manual_seed(0))

    def outputs(scale: float) -> Tensor:
        point = {**vectors, gan.generator: scale * vectors[gan.generator]}
        return gan.samples(point, buffers, FAKE, torch.Generator().manual_seed(1), training=True)

    return bounds([outputs(scale) for scale in SCALES])
