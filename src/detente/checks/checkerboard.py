"""Whether transposed convolutions cover their output evenly."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from detente.checks.base import Check, Finding, Setup
from detente.modules.resize_convolution import uneven_layers


@dataclass(frozen=True)
class Checkerboard(Check):
    """A transposed convolution whose kernel is not divisible by its stride, which draws a checkerboard.

    Source: Odena, Dumoulin & Olah 2016, Deconvolution and Checkerboard Artifacts (doi:10.23915/distill.00003).
    """

    calls_networks: ClassVar[bool] = False

    def __call__(self, setup: Setup) -> Sequence[Finding]:
        """Return at most one finding."""
        module = setup.module(setup.generator)
        layers = [(name, module.get_submodule(name)) for name in uneven_layers(module)]
        if not layers:
            return []
        uneven = [f"{name} (kernel {layer.kernel_size[0]}, stride {layer.stride[0]})" for name, layer in layers]  # type: ignore
        evidence = f"The kernel is not divisible by the stride in {', '.join(uneven[:3])}."
        return [Finding("artefact", evidence, 0.4, "Use a kernel of 4 with a stride of 2, or upsample and convolve.")]
