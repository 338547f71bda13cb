"""Whether dropout leaves enough of a network."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from torch import nn

from detente.checks.base import Check, Finding, Setup


@dataclass(frozen=True)
class Dropout(Check):
    """Dropout of most units, after which a discriminator gives real and generated samples nearly random scores.

    What it does to a generator is named by `EvaluationMode`.

    Args:
        most: largest accepted share of units that a layer drops.

    Source: Srivastava et al. 2014, Dropout (JMLR 15), section A.4 (shares of 0.2 to 0.5 of hidden units).
    """

    calls_networks: ClassVar[bool] = False

    most: float = 0.75

    def __call__(self, setup: Setup) -> Sequence[Finding]:
        """Return at most one finding."""
        strong = {
            name: float(layer.p)
            for name, layer in setup.module(setup.discriminator).named_modules()
            if isinstance(layer, nn.modules.dropout._DropoutNd) and layer.p > self.most
        }
        if not strong:
            return []
        shown = ", ".join(f"{name} ({share:.0%})" for name, share in [*strong.items()][:3])
        evidence = f"The {setup.discriminator} drops most of its units: {shown}."
        remedy = "Use dropout of 0.3 at most, or none."
        return [Finding("generator overpowers or discriminator dead", evidence, 0.6, remedy)]
