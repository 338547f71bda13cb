"""New initial weights."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from detente.cures.base import Case, Change, Cure

TINY, HUGE = (
    0.02,
    30.0,
)  # root mean square of a layer's weights times √(number of inputs), as in the check `WeightScale`
OUTWEIGHS = 3.0  # root mean square of biases; three deviations of a layer's usual inputs leave a ReLU dead
VANISHED = 0.8  # certainty of a vanishing gradient from which weights may be the cause


class NewInitialisation(Cure):
    """Initialise all layers as PyTorch does by default, instead of with weights or biases that are tiny or huge.

    Source: He et al. 2015 (arXiv:1502.01852); LeCun et al. 1998, Efficient BackProp, section 4.6.
    """

    title: ClassVar[str] = "New initial weights"
    treats: ClassVar[Mapping[str, float]] = {
        "vanishing gradient": 0.6,
        "blow-up": 0.3,
        "generator overpowers or discriminator dead": 0.3,
        "collapse": 0.15,
    }
    changes_networks: ClassVar[bool] = True

    def __call__(self, case: Case) -> Change | None:
        """Return the change, or None if it does not apply."""
        return Change({"initialization": True}) if self.is_certain(case) else None

    def is_certain(self, case: Case) -> bool:
        """Return whether most weights of a network are tiny, or some are huge, or so are a layer's biases.

        Where no gradient arrives, one tiny layer is enough, unless it is the last: some start with zeros there.
        """
        vanished = case.sure("vanishing gradient") >= VANISHED
        for role in ("generator", "discriminator"):
            sizes = case.sizes(role)
            if sum(size < TINY for size in sizes) > len(sizes) / 2 or any(size > HUGE for size in sizes):
                return True
            if vanished and any(size < TINY for size in sizes[:-1]):
                return True
            biases = [b for n, b in case.module(role).named_parameters() if n.endswith("bias") and len(b)]
            if any(float(bias.data.double().square().mean().sqrt()) > OUTWEIGHS for bias in biases):
                return True
        return False
