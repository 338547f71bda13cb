"""The accuracy of a conditional generator: the fraction of samples that have the requested label."""

from __future__ import annotations

import inspect
import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from detente.game import Game
from detente.metrics.base import Metric, Stamp
from detente.metrics.context import EvaluationContext
from detente.metrics.features import classifier
from detente.metrics.features.extractor import PART, extract, stamp


def label_accuracy(logits: Tensor, labels: Tensor) -> float:
    """Return the fraction of samples with the likeliest class by `logits`, (count, K), equal to the label, (count,).

    The result is NaN if a logit is NaN.
    """
    if logits.isnan().any():  # NaN would count as the largest
        return math.nan
    return float((logits.argmax(dim=1) == labels.to(logits.device)).double().mean())


@dataclass(frozen=True)
class LabelAccuracy(Metric):
    """Percentage of generated samples that the data set's classifier assigns to the requested label.

    100 · #{i : argmax_k p(k | G(z_i, y_i)) = y_i} / n,  with each label requested equally often

    A perfect generator reaches the classifier's own accuracy.

    Source: Keswani, Mangoubi, Sachdeva, Vishnoi 2022, section 5, and the code of its conditional MNIST.
    """

    title = "Samples with the requested label"
    unit = "%"
    better = "higher"
    needs = "a conditional game, images with labels, the data set's classifier"

    def applies(self, game: Game) -> bool:
        generate: Any = getattr(game, "generate", None)
        return generate is not None and "labels" in inspect.signature(generate).parameters and classifier.fits(game)

    def missing(self, game: Game) -> str:
        return super().missing(game) if classifier.fits(game) else classifier.missing(game)

    def stamp(self, context: EvaluationContext) -> Stamp:
        return stamp(context, classifier.of(context.data))

    def __call__(self, context: EvaluationContext) -> float:
        game: Any = context.game
        generator, device = context.generator, context.state.t.device
        present = context.data.arrays[1].unique().cpu()
        labels = present[torch.arange(context.count) % len(present)]
        latents = torch.randn(context.count, *game.latent_shape, generator=generator, device=generator.device)
        images = game.generate(context.state, latents.to(device), labels.to(device))
        outputs = extract(classifier.of(context.data), images.split(PART))
        return 100 * label_accuracy(outputs.logits, labels) if outputs.defined else math.nan
