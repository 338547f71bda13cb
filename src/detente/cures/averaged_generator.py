"""An average of the generator for samples."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from detente.cures.base import Case, Change, Cure


class AveragedGenerator(Cure):
    """Take samples from an average of the generator's weights, whose half-life is 1/50 of the run.

    Source: Yazıcı et al. 2019 (arXiv:1806.04498).
    """

    title: ClassVar[str] = "An average of the generator"
    treats: ClassVar[Mapping[str, float]] = {
        "oscillation or limit cycle": 0.45,
        "sampling": 0.3,
        "artefact": 0.2,
    }

    def __call__(self, case: Case) -> Change | None:
        """Return the change, or None if it does not apply."""
        return Change(case.in_order, "averaged", case.averaged(case.balanced, (0.5, 0.999)))
