"""Whether a network's parameters have one usual precision."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch

from detente.checks.base import Check, Finding, Setup

HALF = (torch.float16, torch.bfloat16)


@dataclass(frozen=True)
class Precision(Check):
    """Networks of several dtypes, or whose parameters themselves are of 16 bits, to which small steps are lost.

    Source: Micikevicius et al. 2018, Mixed Precision Training (arXiv:1710.03740), section 3.1.
    """

    calls_networks: ClassVar[bool] = False

    def __call__(self, setup: Setup) -> Sequence[Finding]:
        """Return at most one finding."""
        kinds = {
            player: {p.dtype for p in setup.module(player).parameters() if p.is_floating_point()}
            for player in (setup.generator, setup.discriminator)
        }
        dtypes_of_all = set().union(*kinds.values())
        if dtypes_of_all & set(HALF):
            described = ", ".join(f"{player}: {', '.join(map(str, dtypes))}" for player, dtypes in kinds.items())
            evidence = (
                f"Parameters have 16 bits ({described}), so that a step of less than 0.1 % of a weight changes nothing."
            )
            return [
                Finding("vanishing gradient", evidence, 0.6, "Keep parameters in float32; use precision='bfloat16'.")
            ]
        if len(dtypes_of_all) > 1:
            described = ", ".join(
                f"{player}: {', '.join(sorted(map(str, dtypes)))}" for player, dtypes in kinds.items()
            )
            return [
                Finding("wiring", f"The players' parameters have several dtypes ({described}).", 0.4, "Use one dtype.")
            ]
        return []
