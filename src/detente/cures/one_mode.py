"""Samples in evaluation mode as in training."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from detente.checks.base import inspect
from detente.cures.base import SURE, Case, Change, Cure
from detente.modules.replaced_layers import has_idle_norms


class OneMode(Cure):
    """Keep the generator in training mode for samples, if its evaluation mode gives different ones.

    The discriminator only scores samples in training mode, so only these become good.

    Source: Isola et al. 2017, pix2pix (arXiv:1611.07004), section 3.2, whose dropout and BatchNorm stay as in training.
    """

    title: ClassVar[str] = "Draw samples in training mode"
    treats: ClassVar[Mapping[str, float]] = {"sampling": 0.8, "normalisation": 0.7}

    def is_certain(self, case: Case) -> bool:
        """Return whether the difference of both modes is probably at fault."""
        return max(map(case.sure, self.treats)) >= SURE

    def __call__(self, case: Case) -> Change | None:
        """Return the change, or None if it does not apply."""
        if not self.is_certain(case) or has_idle_norms(case.module("generator")):
            return None
        differs = inspect(case.game, case.method, kinds=["evaluation_mode"])
        return Change({"one_mode": True}) if differs else None
