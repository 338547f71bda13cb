"""Whether the networks' outputs depend on their inputs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

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
            findings.append(Finding("vanishing gradient", evidence + cause, certainty, _REMEDY))
        return findings

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
