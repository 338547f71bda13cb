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
    """Your own losses, if they scale or shift only the real samples for the discriminator, or only the others.

    The discriminator then separates both by their size, and the generator's samples are not in the data's units.

    Args:
        factor: largest accepted factor between the real samples' units and the generated ones'.
        shift: largest accepted shift of the ones against the others, in standard deviations of the real samples.

    Source: LeCun, Bottou, Orr & Müller 1998, Efficient BackProp, section 4.3: the same normalisation for all inputs.
    """

    factor: float = 1.3
    shift: float = 0.5

    def __call__(self, setup: Setup) -> Sequence[Finding]:
        """Return the fault of scale, and that it is one of the losses, which others would remove."""
        if isinstance(setup.game, Adversarial):
            return []
        judged = [c.inputs[0] for p, c in setup.calls if p == setup.discriminator and c.inputs]
        real = setup.gan.real_of(setup.batch)
        of_real = [_units(x, real) for x in judged if resembles(x, real)]
        of_made = [
            _units(x, generated) for generated in self._generated(setup) for x in judged if resembles(x, generated)
        ]
        if not of_real or not of_made:
            return []
        (a, b), deviation = of_real[0], float(real.double().std())
        differences = [(a / c, (b - d) / (a * deviation)) for c, d in of_made]
        if any(1 / self.factor <= size <= self.factor and abs(shift) <= self.shift for size, shift in differences):
            return []
        shown = [
            "as they are" if abs(a - 1) < 1e-3 and abs(b) < 1e-3 else f"multiplied by {a:.3g} and shifted by {b:.2g}"
            for a, b in (of_real[0], of_made[0])
        ]
        evidence = f"The {setup.discriminator} gets the real samples {shown[0]}, but generated samples {shown[1]}."
        remedy = "Rescale the data before training, or rescale all samples in the same way in the losses."
        return [Finding("data scale", evidence, 0.9, remedy), Finding("wiring", evidence, 0.85, remedy)]

    def _generated(self, setup: Setup) -> list[Tensor]:
        """Return all samples that the generator returns in one evaluation of the losses."""
        with torch.no_grad(), seeded(0, torch.device("cpu"), setup.game.sources):
            net = setup.game._net(*setup.point)
            generated = [net.call(p, c, update=False) for p, c in setup.calls if p == setup.generator]
        return [x for x in generated if isinstance(x, Tensor)]


def _units(judged: Tensor, samples: Tensor) -> tuple[float, float]:
    """Return a and b of the map a x + b from samples to those that are judged."""
    first, second = judged.double().flatten(), samples.double().flatten()
    size = float(first.std() / second.std().clamp(min=1e-12))
    return size, float(first.mean() - size * second.mean())
