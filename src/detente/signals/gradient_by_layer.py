"""The size of each layer's gradient in the generator."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from detente.checks.base import Finding
from detente.signals.base import History, Observation, Signal, finite, measured


@dataclass(frozen=True)
class GradientByLayer(Signal):
    """The norm of the generator's gradient, of its layers and of the discriminator's.

    `first_to_last` compares root mean squares of the first and the last weight. `silent` is the share of the
    generator's weights whose gradient is exactly 0.

    Args:
        fallen: share of its largest norm below which a gradient has vanished.
        ratio: first layer's gradient relative to the last one's, below which it vanishes on the way.

    Source: Arjovsky & Bottou 2017 (arXiv:1701.04862), section 2.2; Zhang et al. 2021, AutoTrainer (ICSE), for ratios.
    """

    fallen: float = 1e-3
    ratio: float = 1e-3

    def __call__(self, observation: Observation) -> Mapping[str, float]:
        """Return norms, their ratio, and the share of silent weights."""
        values: dict[str, float] = {}
        for role, evaluation in observation.gradients.items():
            name = observation.players()[role]
            block = evaluation.field[name].double()
            values[role] = float(block.norm())
            pieces = observation.game.layouts[name].unflatten(block)
            sizes = [float(piece.square().mean().sqrt()) for piece in pieces.values() if piece.dim() > 1]
            if role == "generator" and sizes:
                values["silent"] = sum(size == 0 for size in sizes) / len(sizes)
                values["first"], values["last"] = sizes[0], sizes[-1]
                values["first_to_last"] = sizes[0] / max(sizes[-1], 1e-30)
        values["latent"] = self._reach(observation)
        return measured(values)

    def findings(self, history: History) -> Sequence[Finding]:
        """Return a gradient that vanishes."""
        norms, all_norms = (
            finite(x) for x in (history.late("gradient_by_layer.generator"), history["gradient_by_layer.generator"])
        )
        if len(norms) < 2:
            return []
        if norms[-2:].max() == 0:
            return [_vanishing("The generator's gradient is exactly 0.", 0.95)]
        if norms.max() < 1e-7:
            return [_vanishing(f"The norm of the generator's gradient is {norms.max():.1g}.", 0.9)]
        silent = finite(history.late("gradient_by_layer.silent"))
        if len(silent) and silent.min() > 0:
            return [_vanishing(f"{silent.min():.0%} of the generator's weights get a gradient of exactly 0.", 0.8)]
        last, peak = float(np.median(norms[-max(1, len(norms) // 2) :])), float(all_norms.max())
        stuck = history.stuck
        if last < self.fallen * peak and stuck:
            evidence = f"The norm of the generator's gradient has fallen from {peak:.2g} to {last:.2g}."
            return [_vanishing(evidence, 0.85 if last < 0.1 * self.fallen * peak else 0.75)]
        ratios, latent = (finite(history.late(f"gradient_by_layer.{x}")) for x in ("first_to_last", "latent"))
        if len(latent) and latent.max() < 1e-5:
            return [_vanishing(f"Other latents change the samples by {latent.max():.1g} of the data's deviation.", 0.9)]
        lost = len(ratios) > 0 and float(np.median(ratios)) < 0.01 * self.ratio
        if lost or (stuck and len(ratios) and np.median(ratios) < self.ratio):
            evidence = f"The gradient of the generator's first layer is {np.median(ratios):.1g} of that of its last."
            return [_vanishing(evidence, 0.85 if lost else 0.65)]
        return []

    def _reach(self, observation: Observation) -> float:
        """Return how much the samples differ, relative to the data: 0 if the latents do not reach the output."""
        samples = observation.samples.double().flatten(1)
        if bool((observation.seen == observation.seen[:1]).all()):
            return math.nan  # the data are one point, and so may the samples be
        return float(samples.std(0).mean() / torch.clamp(observation.seen.double().flatten(1).std(0).mean(), min=1e-12))


def _vanishing(evidence: str, certainty: float) -> Finding:
    remedy = (
        'Use objective non_saturating on logits (scores="logits", no sigmoid after the discriminator), ordinary '
        "initial weights, and a weaker discriminator."
    )
    return Finding("vanishing gradient", evidence, certainty, remedy)
