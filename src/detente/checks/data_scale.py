"""Whether the data have a scale that networks learn easily."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from detente.checks.base import Check, Finding, Setup
from detente.modules.rescaled import units_of


@dataclass(frozen=True)
class DataScale(Check):
    """Data far from zero relative to their spread, or columns of very different spread.

    Args:
        offset: largest accepted |mean| in standard deviations.
        ratio: largest accepted ratio of the standard deviations of two columns.

    Source: LeCun, Bottou, Orr & Müller 1998, Efficient BackProp, section 4.3 (normalise the inputs).
    """

    offset: float = 20.0
    ratio: float = 100.0

    def __call__(self, setup: Setup) -> Sequence[Finding]:
        """Return at most one finding."""
        units = units_of(setup.module(setup.discriminator))
        rows = (
            (setup.real if units is None else units.standard(setup.real)).double().flatten(1)
        )  # as the networks see it
        total = rows.std()
        if float(total) == 0:
            evidence = f"All {len(rows)} samples hold the same value, {float(rows[0, 0]):g}."
            point = float(setup.fake.double().std(0).max()) == 0  # a generator of one point, as in the Dirac-GAN
            return [] if point else [Finding("data scale", evidence, 0.95, "Check how the data are read.")]
        remedy = (
            "Let the networks work in standard units, changed(game, rescale=True), or standardise the data and undo it "
            "for samples."
        )
        offset = float(rows.mean().abs() / total)
        if offset > self.offset:
            evidence = f"The data's mean, {float(rows.mean()):.4g}, is {offset:.3g} standard deviations from 0."
            return [Finding("data scale", evidence, 0.9, remedy)]
        spread = rows.std(0) if rows.shape[1] <= 64 and setup.real.dim() == 2 else torch.ones(1)
        spread = spread[spread > 0]
        if len(spread) > 1 and float(spread.max() / spread.min()) > self.ratio:
            evidence = (
                f"The columns' standard deviations range from {float(spread.min()):.3g} to {float(spread.max()):.3g}."
            )
            return [Finding("data scale", evidence, 0.85, remedy)]
        size = float(rows.abs().mean())
        if size > 50 or size < 1e-3:
            return [Finding("data scale", f"The data's mean absolute value is {size:.3g}.", 0.8, remedy)]
        return []
