"""A discriminator of several samples at once."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from detente.cures.base import Case, Change, Cure


class Packing(Cure):
    """Let the discriminator score two samples together, so that it detects a lack of variety; its first layer is new.

    Source: Lin, Khetan, Fanti & Oh 2018, PacGAN (arXiv:1712.04086).
    """

    title: ClassVar[str] = "Score two samples together (PacGAN)"
    treats: ClassVar[Mapping[str, float]] = {
        "collapse": 0.45,
        "oscillation or limit cycle": 0.2,
    }
    changes_networks: ClassVar[bool] = True

    def __call__(self, case: Case) -> Change | None:
        """Return the change, or None if it does not apply."""
        return Change({"packed": 2}) if case.adversarial and case.game.batch % 2 == 0 else None
