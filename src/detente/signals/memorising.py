"""Whether the discriminator knows the samples that it was trained with."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from detente.checks.base import Finding
from detente.signals.base import History, Observation, Signal, finite, measured, separation


@dataclass(frozen=True)
class Memorising(Signal):
    """How the scores of held-out real samples differ from those of seen ones.

    `seen_over_held_out` is the area under the ROC curve of seen against held-out samples, ½ if they are scored alike.
    `position` is (E s(held out) − E s(fake)) / (E s(seen) − E s(fake)): 1 if held-out samples count as real, 0 if they
    count as generated.

    Args:
        known: area from which the discriminator memorises.
        errors: number of standard errors by which the area must exceed ½, too.

    Source: Karras et al. 2020, Training GANs with Limited Data (arXiv:2006.06676), section 2 and equation 1 (r_v).
    """

    known: float = 0.7
    errors: float = 3.0

    def __call__(self, observation: Observation) -> Mapping[str, float]:
        """Return the area, its standard error by chance, and the position; empty without held-out samples."""
        if observation.held_out is None:
            return {}
        training, held_out, generated = observation.seen_scores, observation.held_out_scores, observation.fake_scores
        first, second = len(training.unique()), len(held_out)
        gap = training.mean() - generated.mean()
        error = ((first + second + 1) / (12 * first * second)) ** 0.5
        position = (held_out.mean() - generated.mean()) / gap if float(gap.abs()) > 1e-9 else 1.0
        return measured({"seen_over_held_out": separation(training, held_out), "error": error, "position": position})

    def findings(self, history: History) -> Sequence[Finding]:
        """Return that there are too few data."""
        areas, errors = (finite(history.late(f"memorising.{name}")) for name in ("seen_over_held_out", "error"))
        positions = finite(history.late("memorising.position"))
        if len(areas) < 3 or len(errors) < 3 or not len(positions):
            return []
        area, limit = (
            float(np.median(np.maximum(areas, 1 - areas))),
            max(self.known, 0.5 + self.errors * np.median(errors)),
        )
        position = float(np.median(positions))
        if area < limit or position > 0.7:
            return []
        evidence = (
            f"The discriminator scores seen real samples above held-out ones in {area:.0%} of pairs; held-out ones lie "
            f"at {position:.2f} between generated (0) and seen (1) ones: it memorises."
        )
        remedy = "Use more data, augmentation as a filter, penalties R1 and R2, or a smaller discriminator."
        return [Finding("too few data", evidence, min(0.92, 0.7 + (area - limit)), remedy)]
