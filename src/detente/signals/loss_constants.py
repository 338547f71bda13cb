"""Losses that take the value of a dead game."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from detente.checks.base import Finding
from detente.signals.base import History, Observation, Signal, finite, measured

LOG2 = math.log(2)
# (discriminator's loss, generator's loss, objective) of a discriminator that gives every sample the same score 0 or ½
DEAD = (
    (2 * LOG2, LOG2, "cross-entropy, 2 log 2 and log 2"),
    (LOG2, LOG2, "cross-entropy, log 2 each"),
    (2 * LOG2, -2 * LOG2, "cross-entropy, 2 log 2 and −2 log 2"),
    (2 * LOG2, -LOG2, "cross-entropy, 2 log 2 and −log 2"),
    (0.25, 0.125, "least squares with ½ each"),
    (0.5, 0.25, "least squares, 0.5 and 0.25"),
    (0.25, 0.25, "least squares, 0.25 each"),
    (2.0, 0.0, "hinge, 2 and 0"),
    (1.0, 0.0, "hinge, 1 and 0"),
)
CLIPPED = tuple(-math.log(x) for x in (1e-6, 1e-7, 2**-23, 1e-8, 1e-10, 1e-12)) + (100.0,)  # 100: torch's BCELoss
TWICE = 2 * LOG2 + math.log1p(math.exp(-1)) - LOG2  # 1.0064: log 2 for fake and log(1 + 1/e) for real samples


@dataclass(frozen=True)
class LossConstants(Signal):
    """The players' losses and their terms, and the values at which a loss says that the game is dead.

    Constant 2 log 2 and log 2, 0.5 and 0.25, or 2 and 0: the discriminator is constant. 13.816, 15.94 or 16.118, or
    half of these: a clipped, saturated cross-entropy. 1.006 and 0.313…0.693: a sigmoid twice. Both losses of 0: the
    discriminator is two functions. A class loss of log K: the samples carry no label.

    Args:
        constant: relative range of a loss that counts as constant.
        near: relative distance that counts as a value.

    Source: the signatures of public reports (nlintz/TensorFlow-Tutorials 83; ctargon/AdvGAN-tf 2; StudioGAN 112).
    """

    constant: float = 2e-3
    near: float = 5e-3

    def __call__(self, observation: Observation) -> Mapping[str, float]:
        """Return the losses, their named terms, and the number of classes of the labels."""
        values: dict[str, float] = {}
        for role, evaluation in observation.gradients.items():
            name = observation.players()[role]
            for key, loss in evaluation.losses_of((name,)).items():
                values[key.replace(name, role, 1)] = float(loss)
        labels = [
            x for k, x in observation.batch.items() if x.dim() and not x.is_floating_point() and x.dtype != torch.bool
        ]
        if labels:
            values["classes"] = float(max(int(x.max()) for x in labels) + 1)
        return measured(values)

    def findings(self, history: History) -> Sequence[Finding]:
        """Return what the losses say."""
        discriminator, generator = (finite(history.loss(role)) for role in ("discriminator", "generator"))
        findings = [self._labels(history)]
        if min(len(discriminator), len(generator)) >= 8:
            findings += [
                self._dead(discriminator, generator) if history.far else None,
                *self._clipped(discriminator, generator),
                self._twice(history),
                self._both_vanish(history, discriminator, generator),
            ]
        strongest: dict[str, Finding] = {}
        for finding in findings:
            if finding is not None and finding.certainty > getattr(strongest.get(finding.failure), "certainty", 0):
                strongest[finding.failure] = finding
        return list(strongest.values())

    def _dead(self, discriminator: np.ndarray, generator: np.ndarray) -> Finding | None:
        for first, second, words in DEAD:
            if self._stays(discriminator, first) and self._stays(generator, second):
                evidence = (
                    f"The losses stay at {np.median(discriminator):.4g} and {np.median(generator):.4g}: {words}, the "
                    "values of a constant discriminator."
                )
                remedy = (
                    "Look for zero weights, a dead or frozen layer, or instance norm at 1 × 1 in the discriminator."
                )
                return Finding("generator overpowers or discriminator dead", evidence, 0.88, remedy)
        return None

    def _stays(self, losses: np.ndarray, value: float) -> bool:
        scale = max(abs(value), 0.25)
        steady = np.ptp(np.quantile(losses, [0.02, 0.98])) < self.constant * scale
        return bool(steady and abs(np.median(losses) - value) < self.near * scale)

    def _clipped(self, discriminator: np.ndarray, generator: np.ndarray) -> list[Finding]:
        first, second = float(np.median(discriminator)), float(np.median(generator))
        constants = [c for value in CLIPPED for c in (value, value / 2)]
        of_first = any(self._stays(discriminator, c) for c in constants)
        of_second = any(self._stays(generator, c) for c in constants) and abs(first) < 0.05
        remedy = 'Use a loss on logits (scores="logits", no sigmoid in the discriminator) and a smaller learning rate.'
        if of_first and abs(second) < 0.05:
            evidence = (
                f"The discriminator's loss stays at {first:.4g}, that of a clipped cross-entropy which is saturated: "
                "it takes all samples for real."
            )
            return [Finding("generator overpowers or discriminator dead", evidence, 0.92, remedy)]
        if of_first:
            evidence = (
                f"The discriminator's loss stays at {first:.4g}, that of a clipped cross-entropy which is saturated."
            )
            return [Finding("generator overpowers or discriminator dead", evidence, 0.85, remedy)]
        if of_second:
            evidence = (
                f"The generator's loss stays at {second:.4g}, that of a clipped cross-entropy which is saturated."
            )
            return [
                Finding("vanishing gradient", evidence, 0.9, remedy),
                Finding("discriminator overpowers", evidence, 0.8, remedy),
            ]
        return []

    def _twice(self, history: History) -> Finding | None:
        """Return a sigmoid twice: bounds that no ordinary loss keeps while the discriminator separates."""
        first, second = (finite(history.loss(role, 1.0)) for role in ("discriminator", "generator"))
        areas = finite(history.late("separation.held_out"))
        usual = float(np.median(areas)) if len(areas) else 1.0
        separates = max(usual, 1 - usual) > 0.95
        for unit in (1.0, 0.5):
            floor, top = unit * TWICE, unit * (LOG2 + math.log1p(math.e))
            inside = second.min() >= 0.999 * math.log1p(math.exp(-1)) and second.max() <= 1.001 * LOG2
            if inside and separates and 0.999 * floor <= first.min() and first.max() <= 1.001 * top:
                if np.ptp(second) < 1e-4 or np.ptp(first) < 1e-4:
                    continue  # a constant discriminator
                evidence = (
                    f"The discriminator's loss never leaves {floor:.3f} … {top:.3f} ({first.min():.3f} at least) nor "
                    "the generator's 0.313 … 0.693: a sigmoid twice."
                )
                remedy = "Remove the sigmoid from the discriminator, or use a loss on probabilities."
                return Finding("wiring", evidence, 0.88, remedy)
        return None

    def _both_vanish(self, history: History, discriminator: np.ndarray, generator: np.ndarray) -> Finding | None:
        whole = [finite(history.loss(role, 1.0)) for role in ("discriminator", "generator")]
        if any(losses.min() < -1e-6 or losses[:8].max() < 0.15 for losses in whole):
            return None  # a loss that may be negative can pass 0
        if max(np.median(discriminator), np.median(generator)) > 0.05:
            return None
        evidence = (
            f"Both losses vanish ({np.median(discriminator):.2g} and {np.median(generator):.2g}), which two opponents "
            "cannot reach:"
        )
        moves = finite(history["own_step.towards_real"])[1:]  # before the first step, the discriminator knows nothing
        if len(moves) and moves.min() < 0:
            words = f"{evidence} the generator lowers its loss by moving away from real scores."
            return Finding("wiring", words, 0.9, "Change the sign of the generator's loss.")
        words = (
            f"{evidence} the discriminator is another function in the generator's step (batch norm on a mixed batch, "
            "or another mode)."
        )
        return Finding(
            "normalisation",
            words,
            0.9,
            "Pass real and generated samples through the discriminator in separate batches, in one mode.",
        )

    def _labels(self, history: History) -> Finding | None:
        classes = finite(history["loss_constants.classes"])
        if not len(classes) or classes.max() < 3:
            return None
        value = math.log(classes.max())
        for name in history.values:
            if not name.startswith("loss_constants.generator."):
                continue
            late = finite(history.late(name))
            if len(late) >= 3 and late.min() > 0.97 * value:
                at = np.abs(late / value - 1).max() < 0.03
                size = f"{late[-1]:.3g} = log" if at else f"{late.min():.3g} or more, above log"
                evidence = (
                    f"The generator's term {name.rpartition('.')[2]} stays at {size} {classes.max():.0f}"
                    ": its samples carry no label."
                )
                return Finding(
                    "labels ignored",
                    evidence,
                    0.85 if at else 0.75,
                    "Use the labels in the generator's forward, and a larger weight of the class loss.",
                )
        return None
