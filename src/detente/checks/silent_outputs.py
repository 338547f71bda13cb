"""Whether every number of the generator's samples has a gradient."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from detente.autodiff.engines import as_leaf, gradients
from detente.checks.base import Check, Finding, Setup
from detente.modules.randomness import seeded


@dataclass(frozen=True)
class SilentOutputs(Check):
    """Columns of generated tables that change with the weights, but have no gradient: argmax, rounding, a comparison.

    The discriminator uses such columns, but the generator never learns them.

    Args:
        widest: maximum number of columns, which are tested one by one.

    Source: Jang, Gu & Poole 2017, Categorical Reparameterization with Gumbel-Softmax (arXiv:1611.01144), section 1: the
        derivative of an argmax is 0 almost everywhere.
    """

    widest: int = 64

    def __call__(self, setup: Setup) -> Sequence[Finding]:
        """Return at most one finding."""
        samples = setup.fake
        if samples.dim() != 2 or not 1 < samples.shape[1] <= self.widest:
            return []
        differ = torch.stack([(x - samples).abs().amax(0) for x in setup.generated_at_scales[1:]]).amax(0) > 0
        reached = self._reached(setup)
        silent = [i for i in range(samples.shape[1]) if bool(differ[i]) and not reached[i]]
        if not silent or len(silent) == samples.shape[1]:
            return []  # a gradient that reaches nothing at all is named elsewhere
        shown = ", ".join(map(str, silent[:6]))
        evidence = (
            f"{len(silent)} of the {samples.shape[1]} numbers of the {setup.generator}'s samples (columns {shown}) "
            "change with its weights, but have no gradient: they come from an argmax, a rounding or a comparison."
        )
        remedy = "Return softmax, or torch.nn.functional.gumbel_softmax(…, hard=True), for categories; do not round."
        return [Finding("wiring", evidence, 0.9, remedy, by_hand=True)]

    def _reached(self, setup: Setup) -> list[bool]:
        """Return for each column whether any parameter of the generator has a gradient of its sum."""
        name, (vectors, buffers) = setup.generator, setup.point
        leaf = as_leaf(vectors[name])
        with torch.enable_grad(), seeded(0, torch.device("cpu"), setup.game.sources):
            net = setup.game._net({**vectors, name: leaf}, buffers)
            samples = net.call(name, setup.generator_call, update=False)
            if not samples.requires_grad:
                return [False] * samples.shape[1]
            return [self._reaches(column, leaf) for column in samples.T]

    def _reaches(self, column: Tensor, leaf: Tensor) -> bool:
        weights = torch.linspace(1, 2, len(column), dtype=column.dtype)  # of columns that always have one sum
        (gradient,) = gradients((weights * column).sum(), [leaf], retain=True)
        return bool(gradient.any())
