"""Make both networks use the labels."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from detente.cures.base import SURE, Case, Change, Cure
from detente.games.conditional import Conditional


class JoinedLabels(Cure):
    """Add a learned vector for each label to the latents, and a learned linear score for each label to the scores.

    Source: Mirza & Osindero 2014 (arXiv:1411.1784); Miyato & Koyama 2018 (arXiv:1802.05637), equation 6.
    """

    title: ClassVar[str] = "Join the labels to latents and scores"
    treats: ClassVar[Mapping[str, float]] = {"labels ignored": 0.8}
    changes_networks: ClassVar[bool] = True

    def is_certain(self, case: Case) -> bool:
        """Return whether labels are surely ignored."""
        return case.sure("labels ignored") >= SURE

    def __call__(self, case: Case) -> Change | None:
        """Return the change, or None if it does not apply."""
        applies = isinstance(case.game, Conditional) and case.sure("labels ignored") >= SURE
        return Change({"labels": True}) if applies else None
