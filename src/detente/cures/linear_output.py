"""A generator that ends in its last linear layer."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from detente.cures.base import SURE, Case, Change, Cure
from detente.modules.replaced_activations import FIXING, RECTIFYING, ends_in


class LinearOutput(Cure):
    """Remove the generator's last layer: a softmax or a normalisation of each sample, or a ReLU that cuts the data.

    After a softmax all samples have the same sum, and after a normalisation the same mean and deviation, whatever
    the weights are, so that no training and no other scale reaches data without these.

    Source: Radford et al. 2016 (arXiv:1511.06434), section 3: no BatchNorm at the generator's output.
    """

    title: ClassVar[str] = "Remove the generator's last activation"
    treats: ClassVar[Mapping[str, float]] = {"data scale": 0.8, "normalisation": 0.8}
    changes_networks: ClassVar[bool] = True

    def is_certain(self, case: Case) -> bool:
        """Return whether the generator's outputs are surely at fault."""
        return max(map(case.sure, self.treats)) >= SURE

    def __call__(self, case: Case) -> Change | None:
        """Return the change, or None if it does not apply."""
        kinds = (*FIXING, *RECTIFYING) if case.sure("data scale") >= SURE else FIXING
        fits = self.is_certain(case) and ends_in(case.module("generator"), kinds)
        return Change({"linear_output": True}) if fits else None
