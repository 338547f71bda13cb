"""Whether the data are numbers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch

from detente.checks.base import Check, Finding, Setup


@dataclass(frozen=True)
class FiniteData(Check):
    """Samples with NaN or infinity, which make every loss NaN.

    Source: IEEE 754: an operation on NaN returns NaN.
    """

    calls_networks: ClassVar[bool] = False

    def __call__(self, setup: Setup) -> Sequence[Finding]:
        """Return a finding for the losses and one for the data."""
        rows = setup.real.flatten(1)
        bad = ~torch.isfinite(rows).all(1)
        if not bool(bad.any()):
            return []
        first = int(bad.int().argmax())
        evidence = (
            f"{int(bad.sum())} of {len(rows)} samples contain NaN or infinity, such as sample {first} of those drawn."
        )
        remedy = "Remove these samples, or replace the values, where the data are read."
        return [Finding("blow-up", evidence, 0.95, remedy), Finding("data scale", evidence, 0.9, remedy)]
