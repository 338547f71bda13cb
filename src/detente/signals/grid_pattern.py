"""A pattern of every second pixel in the samples, such as a checkerboard."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from detente.checks.base import Finding
from detente.modules.resize_convolution import uneven_layers
from detente.signals.base import History, Observation, Signal, finite

SMALLEST = 8  # pixels of a side


@dataclass(frozen=True)
class GridPattern(Signal):
    """How much stronger a pattern of every second pixel is in the samples than in the data.

    The strength is the mean power of an image's spectrum at the highest frequency of rows or columns, divided by that
    at a lower one: about 1 for noise, less for pictures, more for a checkerboard. The finding needs a layer
    that draws such patterns.

    Args:
        stronger: strength relative to the data's from which it is a pattern.
        least: strength from which it is one.

    Source: Odena, Dumoulin & Olah 2016, Deconvolution and Checkerboard Artifacts (doi:10.23915/distill.00003).
    """

    stronger: float = 2.0
    least: float = 1.5

    def __call__(self, observation: Observation) -> Mapping[str, float]:
        """Return both strengths; nothing for samples that are no images."""
        fake, real = grid_strength(observation.samples), grid_strength(observation.seen)
        return {} if math.isnan(fake) or math.isnan(real) else {"fake": fake, "real": real}

    def findings(self, history: History) -> Sequence[Finding]:
        """Return the artefact, if a layer of the generator explains it."""
        fake, real = (finite(history.late(f"grid_pattern.{name}", 0.3)) for name in ("fake", "real"))
        layers = uneven_layers(history.gan.game.modules[history.gan.generator])
        if len(fake) < 2 or not len(real) or not layers:
            return []
        strength, usual = float(np.median(fake)), float(np.median(real))
        if strength < self.least or strength < self.stronger * usual:
            return []
        evidence = (
            f"Every second pixel of the samples differs: this pattern is {strength / usual:.2g} times as strong as in "
            f"the data, and {', '.join(layers[:3])} has a kernel that is not divisible by its stride."
        )
        return [Finding("artefact", evidence, 0.75, "Use a kernel of 4 with a stride of 2, or upsample and convolve.")]


def grid_strength(images: Tensor) -> float:
    """Return the strength of a pattern of every second pixel; NaN for samples that are no images."""
    if images.dim() != 4 or min(images.shape[2:]) < SMALLEST or not bool(images.isfinite().all()):
        return math.nan
    power, places = torch.fft.fft2(images.double()).abs().square().mean((0, 1)), []
    for spectrum in (power, power.T):
        middle = len(spectrum) // 2
        places.append(spectrum[middle, :].mean() / spectrum[middle - 2, :].mean().clamp(min=1e-12))
    return float(torch.stack(places).max())
