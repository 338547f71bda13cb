"""What each player gains by a few steps against a fixed opponent."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from detente.autodiff import player_gradient
from detente.checks.base import Finding
from detente.game import Batch
from detente.signals.base import History, Observation, Signal, finite, measured

LENGTH = 0.01  # of a step, relative to the weights
SMALL = 100_000  # parameters up to which several steps are cheap


@dataclass(frozen=True)
class BestResponse(Signal):
    """An estimate of the duality gap: the sum of what both players gain alone, in a few normalised gradient steps.

    gap = L_G(g, d) − L_G(g*, d) + L_D(g, d) − L_D(g, d*); g* and d* are found on one batch and
    judged on another one; large networks take one step on the same batch.

    Args:
        undertrained: gain of the discriminator, relative to its loss, from which it lags behind.
        steps: steps of each player, in games of small networks; others take one.

    Source: Grnarova et al. 2019, A Domain Agnostic Measure for Monitoring and Evaluating GANs (arXiv:1811.05512).
    """

    undertrained: float = 0.1
    steps: float = 4

    def __call__(self, observation: Observation) -> Mapping[str, float]:
        """Return the gains and their sum."""
        game, state = observation.game, observation.state
        if observation.skipped:
            return {}
        size = sum(len(state.vectors[name]) for name in observation.players().values())
        if size <= SMALL:
            other, steps = game.with_step(game.draw(torch.Generator().manual_seed(19)), state.t), int(self.steps)
        else:
            other, steps = observation.batch, 1
        gains = {role: self._gain(observation, role, other, steps) for role in ("generator", "discriminator")}
        values = {**gains, "gap": sum(gains.values())}
        loss = float(observation.gradients["discriminator"].losses[observation.gan.discriminator])
        return measured({**values, "relative": gains["discriminator"] / max(abs(loss), 0.1)})

    def findings(self, history: History) -> Sequence[Finding]:
        """Return a discriminator that lags behind."""
        gains, areas = finite(history.late("best_response.relative")), finite(history.late("separation.held_out"))
        if len(gains) < 3 or not len(areas) or not history.stuck:
            return []
        if gains.min() > 0 and np.median(gains) > self.undertrained and np.median(areas) < 0.7:
            evidence = (
                f"A few more steps lower the discriminator's loss by {np.median(gains):.0%}, while it separates only "
                f"{np.median(areas):.0%} of pairs: it lags behind the generator."
            )
            remedy = "Raise the discriminator's learning rate or its turns."
            return [Finding("generator overpowers or discriminator dead", evidence, 0.65, remedy)]
        return []

    def _gain(self, observation: Observation, role: str, other: Batch, steps: int) -> float:
        game, state, name = observation.game, observation.state, observation.players()[role]
        vectors = dict(state.vectors)
        length = LENGTH * float(vectors[name].norm())
        for index in range(steps):
            block = (
                observation.gradients[role].field[name]
                if index == 0
                else player_gradient(game, name, vectors, state.buffers, observation.batch).field[name]
            )
            norm = float(block.norm())
            if not norm > 0:
                return 0.0
            vectors[name] = vectors[name] - (length / norm) * block
        with torch.no_grad():
            if other is observation.batch:
                before = observation.gradients[role].losses[name]
            else:
                before = game.losses(state.vectors, state.buffers, other, (name,))[0][name]
            return float(before - game.losses(vectors, state.buffers, other, (name,))[0][name])
