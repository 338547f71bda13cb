"""A generator that looks ahead."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from detente.cures.base import Case, Change, Cure


class UnrolledGradients(Cure):
    """Let the generator's gradient pass through five steps of the discriminator.

    It applies to two players, and to discriminators of at most a million parameters, since all steps stay in memory.

    Source: Metz et al. 2017 (arXiv:1611.02163), section 2.2.
    """

    title: ClassVar[str] = "A generator that looks five steps ahead (unrolled)"
    treats: ClassVar[Mapping[str, float]] = {
        "collapse": 0.5,
        "oscillation or limit cycle": 0.5,
    }

    def __call__(self, case: Case) -> Change | None:
        """Return the change, or None if it does not apply."""
        size = sum(weight.numel() for weight in case.module("discriminator").parameters())
        if len(case.game.players) != 2 or size > 1_000_000 or case.batch_norm:
            return None
        rate = case.balanced
        return Change(case.in_order, "unrolled", {"learning_rate": rate, "generator_learning_rate": rate})
