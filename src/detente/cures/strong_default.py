"""The relativistic loss with R1 and R2, Adam without momentum, and an average of the generator."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from detente.cures.base import SURE, Case, Change, Cure
from detente.filters.diff_augment import DiffAugment
from detente.penalties.r1 import R1
from detente.penalties.r2 import R2


class StrongDefault(Cure):
    """R3GAN's game and method with rates that suit the networks, and an average of the generator.

    With your own losses, the penalties are added to them. The half-life of the average is 1/50 of the run.
    Images are augmented if there are too few.

    Source: Huang et al. 2024, R3GAN (arXiv:2501.05441); Yazıcı et al. 2019 (arXiv:1806.04498) for the average.
    """

    title: ClassVar[str] = "Relativistic loss, R1 and R2, no momentum, averaged generator"
    treats: ClassVar[Mapping[str, float]] = {
        "collapse": 0.65,
        "oscillation or limit cycle": 0.6,
        "discriminator overpowers": 0.6,
        "generator overpowers or discriminator dead": 0.55,
        "vanishing gradient": 0.5,
        "blow-up": 0.55,
        "unbounded critic": 0.65,
        "penalty or Lipschitz bound wrong": 0.6,
        "normalisation": 0.3,
        "data scale": 0.3,
        "too few data": 0.4,
        "wiring": 0.3,
        "labels ignored": 0.3,
        "sampling": 0.2,
        "artefact": 0.2,
    }

    def __call__(self, case: Case) -> Change | None:
        """Return the change, or None if it does not apply."""
        strength = case.penalty_strength
        game: dict[str, object] = {"penalties": case.lazily(R1(strength), R2(strength))}
        if case.adversarial:
            game["objective"] = "relativistic"
        if case.real.dim() == 4 and case.sure("too few data") >= SURE:
            game["filter"] = DiffAugment(case.policy)
        return Change(game, "averaged", case.averaged(case.balanced, (0.0, 0.99)))
