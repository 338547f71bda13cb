"""Networks that compute different outputs in evaluation mode and in training mode."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from detente.checks.base import Finding
from detente.signals.base import History, Observation, Signal, finite, measured, separation

COUNT = 64  # samples in each mode
MOST = 0.75  # share of late observations that must show a difference


@dataclass(frozen=True)
class ModeDifference(Signal):
    """The generator's samples and the discriminator's scores in evaluation mode against those in training mode.

    Args:
        further: distance of samples in evaluation mode to the data, relative to that in training mode, from which
            the stored statistics of a layer are wrong.
        apart: difference between the areas under the ROC curve in both modes from which D is two functions.

    Source: Ioffe & Szegedy 2015, Batch Normalization (arXiv:1502.03167), section 3.1; the signature "train ≠ eval".
    """

    further: float = 3.0
    apart: float = 0.4

    def __call__(self, observation: Observation) -> Mapping[str, float]:
        """Return the distances of both, their difference, and the areas; empty for networks of one mode."""
        values: dict[str, Any] = {}
        modules = observation.game.modules
        generator, discriminator = (modules[name] for name in observation.players().values())
        state = observation.state
        if _has_modes(generator):
            random = torch.Generator().manual_seed(1)  # as for `observation.samples`
            trained = observation.gan.samples(state.vectors, state.buffers, COUNT, random, training=True).double()
            evaluated = observation.samples[:COUNT].double()
            deviation = observation.seen.double().flatten(1).std(0).mean().clamp(min=1e-12)
            values["generator"] = (evaluated - trained).square().mean().sqrt() / deviation
            values["distance"] = observation.reference.quality(evaluated).distance
            values["training_distance"] = observation.reference.quality(trained).distance
        if _has_modes(discriminator):
            samples = observation.seen[:COUNT], observation.samples[:COUNT].to(observation.seen.dtype)
            real, fake = (observation.scores(x, training=True).double() for x in samples)
            mixed = observation.scores(torch.cat(samples), training=True)
            area = separation(observation.seen_scores[:COUNT], observation.fake_scores[:COUNT])
            values["discriminator"] = abs(area - separation(real, fake))
            values["mixed"] = separation(mixed[: len(real)].double(), mixed[len(real) :].double())
        return measured(values)

    def findings(self, history: History) -> Sequence[Finding]:
        """Return a normalisation that is not the same in both modes."""
        distance, trained = (
            finite(history.late(f"mode_difference.{x}", 0.3)) for x in ("distance", "training_distance")
        )
        if len(distance) >= 3 and len(trained) == len(distance):
            if (distance > self.further * trained + 0.15).mean() >= MOST:
                evidence = (
                    f"In evaluation mode the samples are {np.median(distance):.2g} from the data, in training mode "
                    f"{np.median(trained):.2g}."
                )
                return [Finding("normalisation", evidence, 0.85, _REMEDY)]
        return []


def _has_modes(module: torch.nn.Module) -> bool:
    """Whether a module has layers that depend on its mode."""
    kinds = ("BatchNorm", "Dropout", "InstanceNorm", "SyncBatchNorm", "RReLU", "SpectralNorm")
    return any(kind in type(layer).__name__ for layer in module.modules() for kind in kinds)


_REMEDY = "Check the momentum and buffers of batch norm, and use the same mode in training and sampling."
