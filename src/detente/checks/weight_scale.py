"""Whether initial weights have a usual size."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from torch import nn

from detente.checks.base import Check, Finding, Setup

LAYERS = (nn.Linear, nn.modules.conv._ConvNd)


@dataclass(frozen=True)
class WeightScale(Check):
    """Layers whose weights start far too small or far too large for their number of inputs.

    Args:
        low: smallest accepted standard deviation times √(number of inputs).
        high: largest accepted one.
        bias: largest accepted root mean square of a layer's biases; three deviations of the layer's usual inputs leave
            most ReLUs dead, or outweigh the inputs.

    Source: He et al. 2015, Delving Deep into Rectifiers (arXiv:1502.01852), section 2.2 (the product is √2 there).
    """

    calls_networks: ClassVar[bool] = False

    low: float = 0.02
    high: float = 30.0
    bias: float = 3.0

    def __call__(self, setup: Setup) -> Sequence[Finding]:
        """Return findings for each player."""
        findings = []
        for player in (setup.generator, setup.discriminator):
            sizes = {}
            for name, layer in setup.module(player).named_modules():
                if isinstance(layer, LAYERS) and not hasattr(layer, "parametrizations"):
                    weight = layer.weight
                    inputs = weight[0].numel() if weight.numel() else 1
                    sizes[name or "weight"] = float((weight.data.double().pow(2).mean() * inputs).sqrt())
            small = [name for name, size in sizes.items() if size < self.low]
            large = [name for name, size in sizes.items() if size > self.high]
            if small and len(small) > len(sizes) / 2:
                value = sizes[small[0]]
                evidence = f"The {player}'s weights in {', '.join(small[:3])} are {value:.2g} of the usual size."
                findings.append(Finding("vanishing gradient", evidence, 0.6, _REMEDY))
            if large:
                value = sizes[large[0]]
                evidence = f"The {player}'s weights in {', '.join(large[:3])} are {value:.2g} times the usual size."
                findings.append(Finding("blow-up", evidence, 0.7, _REMEDY))
            biases = {n: b.data.double() for n, b in setup.module(player).named_parameters() if n.endswith("bias")}
            far = {n: float(b.square().mean().sqrt()) for n, b in biases.items() if b.numel() > 1}
            outweigh = [f"{name} ({size:.3g})" for name, size in far.items() if size > self.bias]
            if outweigh:
                evidence = f"The {player}'s biases {', '.join(outweigh[:3])} outweigh its inputs."
                findings.append(Finding("vanishing gradient", evidence, 0.55, _REMEDY))
        return findings


_REMEDY = "Use PyTorch's default initialisation, or orthogonal_ or kaiming_normal_."
