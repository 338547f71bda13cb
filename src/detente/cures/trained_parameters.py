"""Train frozen parameters."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from detente.cures.base import Case, Change, Cure

FROZEN = 0.9  # share of a player's parameters, as in the check `GradientReach`


class TrainedParameters(Cure):
    """Train frozen parameters, if they are most of a player's parameters.

    Source: keras-team/keras issue 4943 and others: a player that was frozen for its opponent's step and stayed so.
    """

    title: ClassVar[str] = "Train the frozen parameters"
    treats: ClassVar[Mapping[str, float]] = {"wiring": 0.8, "collapse": 0.5, "discriminator overpowers": 0.5}
    certain: ClassVar[bool] = True

    def __call__(self, case: Case) -> Change | None:
        """Return the change, or None if it does not apply."""
        shares = []
        for role in ("generator", "discriminator"):
            parameters = list(case.module(role).parameters())
            frozen = sum(p.numel() for p in parameters if not p.requires_grad)
            shares.append(frozen / max(1, sum(p.numel() for p in parameters)))
        return Change({"trainable": True}) if max(shares) > FROZEN else None
