"""Whether the discriminator sees real and generated samples in the same units."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from detente.checks.base import Check, Finding, Setup
from detente.games.adversarial import Adversarial
from detente.games.gan import resembles
from detente.modules.randomness import seeded


@dataclass(frozen=True)
class SampleUnits(Check):
    """Losses of your own that scale or shift the real samples before the discriminator sees them, and not the others.

    The discriminator then separates both by their size, and the generator's samples are not in the data's units.

    Args:
        factor: largest accepted factor between the real samples' units and the generated ones'.
        shift: largest accepted shift of the real samples, in their standard deviations.

    Source: LeCun, Bottou, Orr & Müller 1998, Efficient BackProp, section 4.3: the same normalisation for all inputs.
    """

    factor: float = 1.3
    shift: float = 0.5

    def __call__(self, setup: Setup) -> Sequence[Finding]:
        """Return the fault of scale, and that it is one of the losses, which others would remove."""
        if isinstance(setup.game, Adversarial):
            return []
        judged = [c.inputs[0] for p, c in setup.calls if p == setup.discriminator and c.inputs]
        real = setup.batch[setup.gan.real_entry]
        judged_real = next((x for x in judged if resembles(x, real)), None)
        if judged_real is None or not self._as_they_are(setup, judged):
            return []
        size, offset = _units(judged_real, real)
        if 1 / self.factor <= size <= self.factor and abs(offset) <= self.shift:
            return []
        evidence = (
            f"The {setup.discriminator} gets the real samples multiplied by {size:.3g} and shifted by {offset:.2g} "
            "standard deviations, but generated samples as they are."
        )
        remedy = "Put the data into their units before training, or do the same to generated samples in the losses."
        return [Finding("data scale", evidence, 0.9, remedy), Finding("wiring", evidence, 0.85, remedy)]

    def _as_they_are(self, setup: Setup, judged: Sequence[Tensor]) -> bool:
        """Whether generated samples are judged as the generator returns them."""
        with torch.no_grad(), seeded(0, torch.device("cpu"), setup.game.sources):
            net = setup.game._net(*setup.point)
            made = [net.call(p, c, update=False) for p, c in setup.calls if p == setup.generator]
        return any(
            x.shape == y.shape and float((x - y).norm()) <= 1e-3 * float(y.norm())
            for x in judged
            for y in made
            if isinstance(y, Tensor)
        )


def _units(judged_real: Tensor, real: Tensor) -> tuple[float, float]:
    """Return the factor, and the shift in deviations of the real samples, that turns real samples into those judged."""
    first, second = judged_real.double().flatten(), real.double().flatten()
    size = float(first.std() / second.std().clamp(min=1e-12))
    return size, float((first.mean() - second.mean()) / second.std().clamp(min=1e-12))
