"""The slope of the discriminator between real and generated samples."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from detente.autodiff import input_gradient
from detente.checks.base import Finding
from detente.games.adversarial import Adversarial
from detente.signals.base import History, Observation, Signal, finite, measured

POINTS = 128  # lines on which slopes are measured


@dataclass(frozen=True)
class Slope(Signal):
    """The slope ‖∇ₓ s(x)‖ at points between seen real samples and generated ones.

    A critic without a Lipschitz bound gets ever steeper, and its loss falls without end below 0. Under a gradient
    penalty the slope should come near to its target; √(pixels) and 1/√(batch) instead of 1 mean that the penalty's norm
    is over the wrong axes.

    Args:
        steep: slope from which a critic that still gets steeper is unbounded.
        off: factor between a penalty's target and the slope from which the penalty does not hold the critic.
        flat: slope times distance of the data below which a critic is flat.

    Source: Gulrajani et al. 2017 (arXiv:1704.00028), sections 3 and 4; the signature "critic gap grows linearly, no
        plateau" of public reports.
    """

    steep: float = 5.0
    off: float = 5.0
    flat: float = 0.03

    def __call__(self, observation: Observation) -> Mapping[str, float]:
        """Return mean and largest slope, the same in units of the data's size, and what wrong axes would give."""
        real = observation.seen[:POINTS]
        fake = observation.samples[: len(real)]
        mixing = torch.rand(len(real), generator=torch.Generator().manual_seed(17)).to(real.dtype)
        mixing = mixing.reshape(-1, *(1,) * (real.dim() - 1))
        points = mixing * real[: len(fake)] + (1 - mixing) * fake.to(real.dtype)
        state, gan = observation.state, observation.gan
        slopes = input_gradient(lambda x: gan.differentiable_scores(state.vectors, state.buffers, x), points)
        with torch.no_grad():
            sizes = slopes.double().flatten(1).norm(dim=1)
        rows = observation.seen.double().flatten(1)
        distance = float((rows - rows.mean(0)).norm(dim=1).mean())
        values = {"mean": sizes.mean(), "largest": sizes.max(), "relative": sizes.mean() * distance}
        if real.dim() > 2:
            values["pixels"] = math.sqrt(math.prod(real.shape[2:]))
        values["batch"] = math.sqrt(getattr(observation.game, "batch", len(real)))
        if isinstance(observation.game, Adversarial) and observation.game.penalties:
            values["penalty"] = self._penalty(observation)
        return measured(values)

    def findings(self, history: History) -> Sequence[Finding]:
        """Return an unbounded critic, or a penalty that does not do what it should."""
        slopes = finite(history.late("slope.mean"))
        if len(slopes) < 3:
            return []
        unbounded = self._unbounded(history)
        penalty = self._wrong_axes(history, slopes) or self._wrong_strength(history, slopes)
        return [finding for finding in (unbounded, penalty) if finding is not None]

    def _unbounded(self, history: History) -> Finding | None:
        """Return a critic that gets steeper without end, or one whose order of the samples flips."""
        bound = _bound(history)
        remedy = "Add penalties=GradientPenalty(10), spectral norm, or clipped weights (method wgan)."
        loss = finite(history.loss("discriminator", 1.0))
        third, last = history.quarters("slope.mean")
        if len(loss) < 8 or bound == "exact":
            return None
        quarters = [float(part.min()) for part in np.array_split(loss, 4)]
        falls = quarters[3] < 1.25 * quarters[2] < 0 and quarters[3] < -1 and quarters[2] < quarters[1]
        if last > self.steep and last > 1.25 * third and falls:
            evidence = (
                f"The slope of the critic grows from {third:.3g} to {last:.3g} and its loss falls to "
                f"{quarters[3]:.3g}, without a plateau."
            )
            return Finding("unbounded critic", evidence, 0.75 if bound else 0.93, remedy)
        if not history.far or history.improving or bound:
            return None
        if _linear(history.gan.game):
            evidence = (
                f"A Wasserstein critic has no bound on its slope, which is {last:.3g}; the samples do not improve."
            )
            return Finding("unbounded critic", evidence, 0.91, remedy)
        if history.young:
            return None
        areas, late = finite(history.late("separation.held_out")), loss[len(loss) // 2 :]
        if len(areas) and areas.min() < 0.3 and areas.max() > 0.7 and late.min() < -1 and late.max() > 0:
            evidence = (
                f"The critic's order of real and generated samples flips (areas from {areas.min():.2f} to "
                f"{areas.max():.2f}), and its loss goes from {late.min():.3g} to {late.max():.3g}."
            )
            return Finding("unbounded critic", evidence, 0.75, remedy)
        return None

    def _wrong_axes(self, history: History, slopes: np.ndarray) -> Finding | None:
        third, level = history.quarters("slope.mean")
        near = 0.08 if slopes.max() < 1.2 * slopes.min() else 0.0
        loss = finite(history.loss("discriminator", 1.0))
        if len(loss) and loss.min() < -1 and third < level < 1.1 * third:
            near = 0.3  # a Wasserstein critic whose slope comes near from below
        for name, words in (("pixels", "√(pixels)"), ("batch", "1/√(batch)")):
            sizes = finite(history.late(f"slope.{name}"))
            if not len(sizes) or sizes[-1] < 4:
                continue
            target = float(sizes[-1]) if name == "pixels" else 1 / float(sizes[-1])
            if abs(level / target - 1) < near and not _own_penalties(history):
                evidence = f"The slope of the critic is {level:.3g}, near {words} = {target:.3g}, instead of 1."
                remedy = "Take the norm of the penalty's gradient over all axes of a sample except the batch."
                return Finding("penalty or Lipschitz bound wrong", evidence, 0.7 if near < 0.1 else 0.65, remedy)
        return None

    def _wrong_strength(self, history: History, slopes: np.ndarray) -> Finding | None:
        game, failure = history.gan.game, "penalty or Lipschitz bound wrong"
        if not history.stuck:
            return None
        level, relative = float(np.median(slopes)), finite(history.late("slope.relative"))
        penalties = getattr(game, "penalties", ())
        targets = [float(p.target) for p in penalties if isinstance(getattr(p, "target", None), int | float)]
        target = next((t for t in targets if t > 0), None)
        if target is not None and not target / self.off < level < target * self.off:
            evidence = f"The slope of the critic is {level:.2g}, although its penalty's target is {target:g}."
            remedy = "Set the penalty's strength by the data's scale, e.g. GradientPenalty(10) for data of deviation 1."
            return Finding(failure, evidence, 0.7, remedy)
        shares = finite(history.late("slope.penalty"))
        if len(shares) and np.median(shares) > 10:
            evidence = f"The penalty is {np.median(shares):.3g} times the rest of the discriminator's loss."
            return Finding(failure, evidence, 0.7, "Use a smaller strength of the penalty, or standardise the data.")
        areas, advantage = finite(history.late("separation.held_out")), finite(history.late("separation.advantage"))
        if penalties and len(advantage) >= 3 and (advantage < 0).mean() > 0.6 and np.median(areas) < 0.6:
            evidence = (
                f"Under its penalty the discriminator is worse than a constant: its loss without the penalty is "
                f"{-np.median(advantage):.2g} above that of equal scores."
            )
            return Finding(failure, evidence, 0.72, "Use a smaller strength of the penalty, or standardise the data.")
        if penalties and len(areas) and areas.min() < 0.3 and areas.max() > 0.7:
            evidence = (
                f"The discriminator's order of real and generated samples flips (areas from {areas.min():.2f} to "
                f"{areas.max():.2f}), although it has a penalty; its slope is {level:.2g}."
            )
            remedy = (
                "Set the penalty's strength by the data's scale, e.g. GradientPenalty(10) or R1(1) for deviation 1."
            )
            return Finding(failure, evidence, 0.68, remedy)
        flat = len(relative) > 0 and float(np.median(relative)) < self.flat
        if flat and (penalties or _linear(game)):
            evidence = (
                f"Across the data the critic's score changes by only {np.median(relative):.2g}: it is almost flat."
            )
            remedy = "Use a weaker penalty, a larger clip than 0.01, or a gradient penalty instead of clipped weights."
            return Finding(failure, evidence, 0.65, remedy)
        return None

    def _penalty(self, observation: Observation) -> float:
        """Return the penalty's size relative to that of the objective."""
        game: Any = observation.game
        objective = game.objective.at(observation.state.t)
        count = min(len(observation.seen), len(observation.samples))
        seen, fake = (observation.scores(x[:count], True) for x in (observation.seen, observation.training_samples))
        loss = float(observation.gradients["discriminator"].losses[observation.gan.discriminator])
        plain = float(objective.discriminator_loss(seen, fake))
        return abs(loss - plain) / max(abs(plain), 0.1)


def _bound(history: History) -> str:
    """Return "exact" if the critic's weights bound its slope, "penalty" if a penalty does, and "" otherwise."""
    name, game = history.gan.discriminator, history.gan.game
    layers = getattr(game, "modules", {})[name].modules()
    if any("SpectralNorm" in type(layer).__name__ for layer in layers):
        return "exact"
    optimizer: Any = history.method.optimizers(game.players)[name]
    while optimizer is not None:
        if type(optimizer).__name__ == "Clipped":
            return "exact"
        optimizer = getattr(optimizer, "optimizer", None)
    return "penalty" if getattr(game, "penalties", ()) else ""


def _own_penalties(history: History) -> bool:
    """Whether all penalties are this library's, whose norms are over the right axes."""
    penalties = getattr(history.gan.game, "penalties", None)
    return penalties is not None and all(type(p).__module__.startswith("detente.penalties") for p in penalties)


def _linear(game: Any) -> bool:
    """Whether the discriminator's loss is linear in the scores, so that it needs a bound."""
    return type(getattr(game, "objective", None)).__name__ == "Wasserstein"
