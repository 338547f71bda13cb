"""Whether each player's gradient depends on its opponent at all."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch

from detente.autodiff import player_gradient
from detente.checks.base import Finding
from detente.signals.base import History, Observation, Signal, finite, measured


@dataclass(frozen=True)
class OpponentInfluence(Signal):
    """The relative change of each player's gradient if the opponent's weights change by half of their size.

    It is measured at the first two observations, since a network's connections do not change.

    Args:
        none: relative change up to which the opponent has no influence.
        little: relative change up to which other terms outweigh what the generator learns from the discriminator.
        narrow: variance of the samples, relative to the data's, below which such a generator fails.

    Source: the signature "gradient at G the same for two different Ds" of public reports: a detached or
        overwritten loss.
    """

    none: float = 1e-6
    little: float = 0.25
    narrow: float = 0.5

    def __call__(self, observation: Observation) -> Mapping[str, float]:
        """Return the change of each player's gradient."""
        state, values, players = observation.state, {}, observation.players()
        if int(state.t) > observation.steps:
            return {}
        generator = torch.Generator().manual_seed(31)
        for role, opponent in (("generator", "discriminator"), ("discriminator", "generator")):
            name, other = players[role], state.vectors[players[opponent]]
            block = observation.gradients[role].field[name].double()
            if not float(block.norm()) > 0:
                continue
            noise = torch.randn(other.shape, generator=generator, dtype=torch.float32).to(other)
            scale = 0.5 * max(float(other.norm()), 0.01 * len(other) ** 0.5) / len(other) ** 0.5
            vectors = {**state.vectors, players[opponent]: other + scale * noise}
            changed = player_gradient(observation.game, name, vectors, state.buffers, observation.batch).field[name]
            values[role] = float((changed.double() - block).norm() / block.norm())
        return measured(values)

    def findings(self, history: History) -> Sequence[Finding]:
        """Return a player whose loss ignores its opponent."""
        for role, opponent in (("generator", "discriminator"), ("discriminator", "generator")):
            changes = finite(history[f"opponent_influence.{role}"])
            if len(changes) and changes.max() <= self.none:
                evidence = f"The {role}'s gradient is the same whatever the weights of the {opponent} are."
                remedy = (
                    f"Compute the {role}'s loss from the discriminator's scores of generated samples, not detached."
                )
                return [Finding("wiring", evidence, 0.93, remedy)]
        changes, variance = finite(history["opponent_influence.generator"]), finite(history.late("spread.variance"))
        if len(changes) > 1 and changes.max() <= self.little and len(variance) and variance.max() < self.narrow:
            evidence = (
                f"The generator's gradient changes by only {changes.max():.2g} of its size with another discriminator: "
                "other terms of its loss outweigh what it learns from the scores, and its samples are alike."
            )
            remedy = "Lower the weights of the other terms in the generator's loss, or leave these terms out."
            return [Finding("wiring", evidence, 0.6, remedy)]
        return []
