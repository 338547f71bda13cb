"""A discriminator that ends in its last linear layer."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from detente.cures.base import SURE, Case, Change, Cure
from detente.modules.replaced_activations import bounded_scores


class LinearScores(Cure):
    """Remove the discriminator's last layer: softplus, tanh or ReLU, or a normalisation of one number.

    A loss on logits, and a Wasserstein loss, need scores of both signs and of any size; a single number that is
    normalised is always the same.

    Source: Goodfellow et al. 2014 (arXiv:1406.2661), proposition 1: the best score is log(p/q), which is not bounded.
    """

    title: ClassVar[str] = "Remove the discriminator's last activation"
    treats: ClassVar[Mapping[str, float]] = {"wiring": 0.8, "vanishing gradient": 0.6, "normalisation": 0.6}
    changes_networks: ClassVar[bool] = True

    def is_certain(self, case: Case) -> bool:
        """Return whether the discriminator's outputs are probably at fault."""
        return max(map(case.sure, self.treats)) >= SURE

    def __call__(self, case: Case) -> Change | None:
        """Return the change, or None if it does not apply."""
        fits = self.is_certain(case) and bounded_scores(case.module("discriminator"))
        return Change({"linear_scores": True}) if fits else None
