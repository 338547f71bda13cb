"""Whether the generator's last layer fixes what differs from sample to sample in the data."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from detente.checks.base import Check, Finding, Setup
from detente.modules.replaced_activations import last_layer


@dataclass(frozen=True)
class FixedStatistics(Check):
    """A generator all of whose samples have the same mean, or the same deviation, whatever its weights are.

    So it is after a softmax, whose outputs have the sum 1, and after instance or layer norm of the output.

    Args:
        fixed: deviation of the mean over the samples, relative to that of all numbers, up to which it is fixed.
        differs: difference of the means in the data, in the same unit, from which this matters.

    Source: Ulyanov et al. 2016, Instance Normalization (arXiv:1607.08022), equation 2; Bridle 1990 for softmax.
    """

    fixed: float = 1e-4
    differs: float = 0.05

    def __call__(self, setup: Setup) -> Sequence[Finding]:
        """Return at most one finding."""
        outputs, real = setup.generated_at_scales, setup.real.double()
        if real[0].numel() < 2 or not all(self._fixed(x.double()) for x in outputs):
            return []
        data, means = _means(real), _means(outputs[1].double())
        unit = float(real.std())
        distance = max(float(data.std(0).max()), float((data.mean(0) - means.mean(0)).abs().max())) / max(unit, 1e-12)
        if unit == 0 or distance <= self.differs:
            return []
        last = last_layer(setup.module(setup.generator))
        name = f" after {last[0]} ({type(last[1]).__name__})" if last else ""
        normed = last is not None and "norm" in type(last[1]).__name__.lower()
        evidence = (
            f"All samples of the {setup.generator} have the same mean, {float(means.flatten()[0]):.3g}{name}, with any "
            f"weights, but the data's means are {float(data.mean()):.3g} ± {float(data.std()):.2g}."
        )
        remedy = f"Remove the {setup.generator}'s last layer, or end it in tanh for data in [−1, 1]."
        return [Finding("normalisation" if normed else "data scale", evidence, 0.95, remedy)]

    def _fixed(self, samples: Tensor) -> bool:
        """Whether samples differ, but not their means."""
        if len(samples) < 4 or not bool(samples.isfinite().all()):
            return False
        within = float((samples - _expanded(_means(samples), samples)).std())
        differ = float(samples.std(0).max())
        means = float(_means(samples).std(0).max())
        return within > 0 and differ > 0.01 * within and means <= self.fixed * within


def _means(samples: Tensor) -> Tensor:
    """Return each sample's mean, of each channel of pictures, (count, channels)."""
    return samples.flatten(2).mean(2) if samples.dim() > 2 else samples.mean(1, keepdim=True)


def _expanded(means: Tensor, samples: Tensor) -> Tensor:
    return torch.broadcast_to(means.reshape(*means.shape, *(1,) * (samples.dim() - 2)), samples.shape)
