"""Whether the networks' outputs depend on their inputs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from detente.checks.base import Check, Finding, Setup, starts_at_zero


@dataclass(frozen=True)
class ConstantNetworks(Check):
    """A discriminator whose score is the same for all samples, or a generator that ignores its latents.

    Args:
        variation: smallest accepted standard deviation relative to the outputs' size; rounding leaves up to 3e-5 of it.

    Source: ctargon/AdvGAN-tf issue 2 (instance norm of 1 × 1 maps); nlintz/TensorFlow-Tutorials issue 83 (zero
        weights).
    """

    variation: float = 1e-4

    def __call__(self, setup: Setup) -> Sequence[Finding]:
        """Return a finding for each network whose output is constant."""
        findings = []
        real = setup.few
        scores = setup.scores_at_scales[0]
        if len(scores) > 1 and self._constant(scores) and not bool((real == real[0]).all()):
            evidence = f"The discriminator gives every real sample the same score, {float(scores.flatten()[0]):.4g}."
            cause = _cause(setup, setup.discriminator)
            certainty = 0.4 if starts_at_zero(setup.module(setup.discriminator)) else 0.95
            findings.append(Finding("vanishing gradient", evidence + cause, certainty, _REMEDY))
        if self._constant(setup.fake) and not bool((real == real[0]).all()):
            evidence = "The generator returns the same sample for every latent."
            cause = _cause(setup, setup.generator)
            certainty = 0.4 if starts_at_zero(setup.module(setup.generator)) else 0.95
            if not cause and (always := self._always(setup)):
                evidence, remedy = f"{evidence[:-1]}, {always}.", "Let the generator's forward use new latents."
                return [*findings, Finding("wiring", evidence, 0.95, remedy, by_hand=True)]
            findings.append(Finding("vanishing gradient", evidence + cause, certainty, _REMEDY))
        return findings

    def _always(self, setup: Setup) -> str:
        """Return in words why the generator's samples are the same with any weights; empty if they are not."""
        first = setup.generator_call.inputs[0] if setup.generator_call.inputs else None
        if isinstance(first, Tensor) and len(first) > 1 and bool((first == first[:1]).all()):
            return "since all latents of a batch are the same"
        name, parts = setup.generator, [*setup.module(setup.generator).modules()]
        if any("norm" in type(part).__name__.lower() for part in parts):
            return ""
        vectors, generator = setup.point[0], torch.Generator().manual_seed(5)
        for scale in (0.1, 0.5):
            other = scale * torch.randn(vectors[name].shape, generator=generator).to(vectors[name])
            if not self._constant(setup.generate({**vectors, name: other})):
                return ""
        return "also with other weights: its forward does not use the latents"

    def _constant(self, outputs: Tensor) -> bool:
        outputs = outputs.double().flatten(1) if outputs.dim() > 1 else outputs.double().unsqueeze(1)
        spread = float(outputs.std(0).mean())
        return spread <= self.variation * max(float(outputs.abs().mean()), 1e-12)


_REMEDY = "Initialise the weights at random, and remove the layer that makes its output constant."


def _cause(setup: Setup, player: str) -> str:
    """Return a sentence that names weights of zero or a normalisation of single pixels, if there are any."""
    module = setup.module(player)
    zero = [n for n, p in module.named_parameters() if p.dim() > 1 and not bool(p.any())]
    if zero:
        return f" Its weights {', '.join(zero[:3])} are zero."
    norms = [n for n, part in module.named_modules() if isinstance(part, nn.modules.instancenorm._InstanceNorm)]
    return (
        f" It has instance norm ({', '.join(norms[:3])}), which returns zero for a map of one pixel." if norms else ""
    )
