"""How well the discriminator separates real from generated samples."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from detente.checks.base import Finding
from detente.games.adversarial import Adversarial
from detente.signals.base import TREND, History, Observation, Signal, finite, measured, separation


@dataclass(frozen=True)
class Separation(Signal):
    """The discriminator's accuracy on seen and held-out real samples and on generated ones, and the gap of its scores.

    The area under the ROC curve (`held_out`, `seen`) needs no threshold: 1 is perfect, ½ is chance. The accuracies use
    the score at which the discriminator's loss on equal scores is least, or the middle of both means.

    Args:
        perfect: area from which the discriminator separates perfectly.
        chance: distance of the area from ½ up to which it is no better than chance.
        seen: area from which the discriminator sees a difference in most pairs.
        alike: precision and coverage, relative to real samples, below which samples are blurred.
        near: distance of the samples to the data up to which samples of the data's variance may be a draw.

    Source: MathWorks, Monitor GAN Training Progress and Identify Common Failure Modes; Arjovsky & Bottou 2017, Towards
        Principled Methods for Training GANs (arXiv:1701.04862), section 2.
    """

    perfect: float = 0.98
    chance: float = 0.1
    near: float = 0.3
    seen: float = 0.9
    alike: float = 0.15

    def __call__(self, observation: Observation) -> Mapping[str, float]:
        """Return areas, accuracies, the gap of the mean scores and their deviation."""
        fake, seen, held = observation.fake_scores, observation.seen_scores, observation.held_out_scores
        least, threshold = _constant(observation)
        threshold = threshold if threshold is not None else float((seen.mean() + fake.mean()) / 2)
        both = torch.cat([held, fake])
        values = {
            "held_out": separation(held, fake),
            "seen": separation(seen, fake),
            "accuracy_held_out": (held > threshold).double().mean(),
            "accuracy_seen": (seen > threshold).double().mean(),
            "accuracy_fake": (fake < threshold).double().mean(),
            "gap": held.mean() - fake.mean(),
            "deviation": both.std(),
            "relative_deviation": both.std() / both.abs().mean().clamp(min=1e-3),
        }
        if least is not None and isinstance(observation.game, Adversarial):
            objective = observation.game.objective.at(observation.state.t)
            count = min(len(seen), len(fake))
            loss = objective.discriminator_loss(seen[:count], fake[:count])
            values["advantage"] = least - loss  # over a constant score
        return measured(values)

    def findings(self, history: History) -> Sequence[Finding]:
        """Return a discriminator that is too strong, or one that is dead or too weak."""
        areas = finite(history.late("separation.held_out"))
        if len(areas) < 3:
            return []
        dead = self._dead(history, areas)
        strong = self._strong(history, areas)
        return [finding for finding in (dead, strong) if finding is not None]

    def _dead(self, history: History, areas: np.ndarray) -> Finding | None:
        failure = "generator overpowers or discriminator dead"
        deviation = finite(history.late("separation.relative_deviation"))
        if len(deviation) and deviation.max() < 1e-4:
            evidence = f"The discriminator's scores differ by only {deviation.max():.1g} of their size: it is constant."
            return Finding(failure, evidence, 0.93 if deviation.max() < 1e-6 else 0.88, _DEAD)
        if not history.stuck:
            return None
        distance = float(np.median(finite(history.late("spread.distance")))) if "spread.distance" in history else np.nan
        advantage = finite(history.late("separation.advantage"))
        far = f"while the samples are far from the data (distance {distance:.2g})"
        better = areas - 0.5 if isinstance(history.gan.game, Adversarial) else np.abs(areas - 0.5)
        if float(np.median(better)) < self.chance:
            evidence = f"The discriminator tells real from generated samples in {np.median(areas):.0%} of pairs, {far}."
            variance = finite(history.late("spread.variance"))
            alike = len(variance) > 0 and 0.6 < float(np.median(variance)) < 1.6
            sure = 0.8 if distance > self.near else 0.45 if alike else 0.65  # of a draw between equals, too
            return Finding(failure, evidence, sure, _DEAD)
        if (
            len(advantage) >= 3
            and (advantage < 0).mean() > 0.6
            and np.median(advantage) < -2e-3
            and np.median(areas) < 0.75
        ):
            evidence = f"The discriminator's loss is {-np.median(advantage):.2g} above that of a constant, {far}."
            return Finding(failure, evidence, 0.6, _DEAD)
        return None

    def _strong(self, history: History, areas: np.ndarray) -> Finding | None:
        if not isinstance(history.gan.game, Adversarial):
            areas = np.maximum(areas, 1 - areas)  # of networks, real samples may have the lower scores
        if self._blurred(history, areas):
            precision = float(np.median(finite(history.late("spread.precision"))))
            evidence = (
                f"The discriminator separates {np.median(areas):.0%} of pairs, and only {precision:.0%} of the samples "
                "look real, although they are where the data are; this does not improve."
            )
            return Finding("discriminator overpowers", evidence, 0.6, _STRONG)
        if areas.min() < self.perfect or not history.stuck or history.unformed:
            return None
        third, last = (abs(gap) for gap in history.quarters("separation.gap"))
        certainty = 0.65
        evidence = f"The discriminator separates {areas.min():.1%} of pairs, the samples do not improve"
        if last > 1.15 * third:
            certainty, evidence = (
                certainty + 0.1,
                f"{evidence}, and the gap of the scores grows from {third:.3g} to {last:.3g}",
            )
        loss, early = history.loss("generator", 0.25), history.loss("generator", 1.0)[:20]
        if len(loss) and len(early) and np.median(loss) > max(3.0, 2 * np.median(early)):
            certainty, evidence = certainty + 0.08, f"{evidence}; the generator's loss is {np.median(loss):.3g}"
        return Finding("discriminator overpowers", f"{evidence}.", certainty, _STRONG)

    def _blurred(self, history: History, areas: np.ndarray) -> bool:
        """Whether samples are near the data, but almost none is like a real one, and the discriminator sees it."""
        precision, coverage = (history.late(f"spread.{name}") for name in ("precision", "coverage"))
        if len(finite(precision)) < 4 or history.far or history.young or np.median(areas) < self.seen:
            return False
        low = max(float(np.median(finite(x))) for x in (precision, coverage)) < self.alike
        rises = any(history.trend(f"spread.{n}") > TREND for n in ("precision", "coverage"))
        return low and not (rises and history.expected("spread.precision") > 2 * self.alike)


_STRONG = (
    "Bring the learning rates closer, use objective relativistic with penalties R1 and R2, spectral norm or input "
    "noise in the discriminator."
)
_DEAD = "Raise the discriminator's learning rate or its turns, and look at its initial weights and last layers."


def _constant(observation: Observation) -> tuple[float | None, float | None]:
    """Return the least loss of a discriminator that gives all samples one score, and this score if it is unique."""
    if not isinstance(observation.game, Adversarial):
        return None, None
    objective = observation.game.objective.at(observation.state.t)
    grid = torch.linspace(-2, 2, 33, dtype=torch.float64)
    try:
        losses = torch.stack([objective.discriminator_loss(score.expand(2), score.expand(2)) for score in grid])
    except (RuntimeError, ValueError):  # an objective of other scores
        return None, None
    best = losses <= losses.min() + 1e-9
    return float(losses.min()), float(grid[best][0]) if int(best.sum()) == 1 else None
