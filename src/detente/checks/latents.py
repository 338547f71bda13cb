"""Whether the generator uses its latents, and has enough of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.utils._pytree import tree_leaves

from detente.autodiff import input_gradient
from detente.checks.base import Check, Finding, Setup
from detente.modules.net import Call
from detente.modules.randomness import seeded


@dataclass(frozen=True)
class Latents(Check):
    """Latents that do not reach the samples, or too few of them for pictures.

    Args:
        unused: largest accepted share of latents without influence.
        least: smallest accepted number of latents for samples of 64 or more numbers.

    Source: Facco et al. 2017, Estimating the Intrinsic Dimension of Datasets (MNIST: about 13), of pictures.
    """

    unused: float = 0.2
    least: int = 3

    def __call__(self, setup: Setup) -> Sequence[Finding]:
        """Return at most one finding."""
        call, player = setup.generator_call, setup.generator
        if not call.inputs or not isinstance(call.inputs[0], Tensor) or not call.inputs[0].is_floating_point():
            return []
        latents = call.inputs[0]
        if latents.dim() != 2 and latents[0].numel() != latents.shape[1]:  # pictures, in image-to-image games
            return []
        count, numbers = latents[0].numel(), setup.real[0].numel()

        def total(x: Tensor) -> Tensor:
            with seeded(0, torch.device("cpu"), setup.game.sources):
                outputs = setup.game._net(*setup.point).call(
                    player, Call(call.part, (x, *call.inputs[1:]), call.keywords), update=False
                )
            weights = torch.Generator().manual_seed(0)
            parts = [y.flatten(1) for y in tree_leaves(outputs) if isinstance(y, Tensor) and y.is_floating_point()]
            return torch.stack([(y * torch.randn(y.shape[1], generator=weights)).sum() for y in parts])

        gradient = input_gradient(total, latents).flatten(1)
        silent = int((gradient == 0).all(0).sum())
        if silent == count:
            return []  # a constant generator, named by ConstantNetworks
        if silent > self.unused * count:
            evidence = f"{silent} of the {player}'s {count} latents have no influence on its samples."
            return [Finding("wiring", evidence, 0.85, f"Let the {player}'s first layer use all latents.")]
        if count < self.least and numbers >= 64:
            evidence = f"The {player} makes samples of {numbers} numbers from {count} latent{'s' if count > 1 else ''}."
            return [Finding("collapse", evidence, 0.6, "Use 16 to 128 latents (latent=64).")]
        return []
