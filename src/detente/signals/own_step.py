"""Whether the generator's own step moves its samples' scores towards those of real samples."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from detente.checks.base import Finding
from detente.games.adversarial import Adversarial
from detente.signals.base import History, Observation, Signal, finite, measured

COUNT = 64  # samples
LENGTH = 1e-3  # of the step, relative to the weights


@dataclass(frozen=True)
class OwnStep(Signal):
    """The change of D(fake) in a small step of the generator down its own gradient, and of the gap in one of D.

    `towards_real` is the change of E s(fake), in the direction of E s(real), in units of the scores' deviation and
    of the step's relative length; negative: the generator moves away from real scores. `apart` is the same for the gap
    |E s(real) − E s(fake)| in a step of the discriminator.

    Args:
        clear: gap of the scores, in their deviations, from which the direction is known.

    Source: the signature "D(fake) falls during G's own step" of public reports.
    """

    clear: float = 0.3

    def __call__(self, observation: Observation) -> Mapping[str, float]:
        """Return both changes, and the gap in units of the scores' deviation."""
        state, gan = observation.state, observation.gan
        real, fake = observation.seen_scores[:COUNT], observation.fake_scores[:COUNT]
        deviation = 0.5 * (real.std() + fake.std()) + 1e-9 * (1 + fake.abs().mean())
        gap = real.mean() - fake.mean()
        values = {"gap": gap / deviation}
        known = isinstance(observation.game, Adversarial)  # of networks, real samples may have the lower scores
        direction = 1.0 if known or float(gap) >= 0 else -1.0
        moved = self._moved(observation, "generator")
        if moved is not None:
            samples = gan.samples(moved, state.buffers, COUNT, torch.Generator().manual_seed(1))
            change = gan.scores(moved, state.buffers, samples).double().mean() - fake.mean()
            values["towards_real"] = direction * change / deviation / LENGTH
        moved = self._moved(observation, "discriminator")
        if moved is not None:
            scores = [
                gan.scores(moved, state.buffers, x[:COUNT]).double() for x in (observation.seen, observation.samples)
            ]
            values["apart"] = direction * (scores[0].mean() - scores[1].mean() - gap) / deviation / LENGTH
        return measured(values)

    def findings(self, history: History) -> Sequence[Finding]:
        """Return a wrong sign."""
        if type(getattr(history.gan.game, "objective", None)).__module__.startswith("detente."):
            return []  # its signs are right; what is seen is another function in evaluation mode
        gaps, moves = (finite(history.late(f"own_step.{x}")) for x in ("gap", "towards_real"))
        if min(len(gaps), len(moves)) < 4 or not history.far:
            return []
        apart = finite(history.late("own_step.apart"))  # the discriminator must widen the gap in this direction
        if len(apart) and (apart > 0).mean() < 0.6:
            return []
        clear = np.abs(gaps).min() > self.clear and len(set(np.sign(gaps))) == 1
        if clear and (moves < 0).all():
            evidence = (
                "In every step of the generator, the scores of its samples move away from those of real ones (by "
                f"{-np.median(moves):.2g} deviations per unit)."
            )
            remedy = "Change the sign of the generator's loss, or the label with which it is computed."
            return [Finding("wiring", evidence, 0.85, remedy)]
        return []

    def _moved(self, observation: Observation, role: str) -> dict[str, torch.Tensor] | None:
        name = observation.players()[role]
        vector, block = observation.state.vectors[name], observation.gradients[role].field[name]
        norm = float(block.norm())
        if not norm > 0:
            return None
        length = LENGTH * max(float(vector.norm()), 1e-3 * len(vector) ** 0.5)
        return {**observation.state.vectors, name: vector - length / norm * block}
