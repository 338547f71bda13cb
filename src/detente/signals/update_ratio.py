"""How far the players' weights move, relative to their size."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from detente.checks.base import Finding
from detente.signals.base import STILL, History, Observation, Signal, finite, measured

SMALL = 0.01  # size of a weight below which relative moves mean nothing


@dataclass(frozen=True)
class UpdateRatio(Signal):
    """The size of one step of each player relative to that of its weights, ‖Δx‖/‖x‖, and the size itself.

    The step is one of the method's own, from the observed state, and is thrown away.

    Args:
        large: ratio from which steps are too large.
        grown: growth of the weights from which they blow up.
        still: what the weights would move in a whole run, always in one direction, relative to their size, below which
            they stand still.

    Source: the rule of 10⁻³ for a single step of Karpathy's CS231n notes (Ratio of weights:updates); public reports.
    """

    large: float = 0.1
    grown: float = 30.0
    still: float = STILL

    def __call__(self, observation: Observation) -> Mapping[str, float]:
        """Return the ratio of a step, the size of the weights, and whether they moved since the last observation."""
        state, values, after = observation.state, {}, None
        generator = torch.Generator().manual_seed(13)
        method, game = observation.method, observation.game
        batches = tuple(game.draw(generator) for _ in range(method.draws(game)))
        try:
            after = (
                None
                if observation.skipped
                else method.step(game, state, batches, method.noise(game, state, generator))[0]
            )
        except (RuntimeError, ValueError, KeyError):  # a field that needs a preparation
            after = None
        for role, name in observation.players().items():
            vector = state.vectors[name].double()
            size = max(float(vector.norm()), SMALL * len(vector) ** 0.5)
            values[f"{role}_size"] = size
            if after is not None:
                values[role] = float((after.vectors[name].double() - vector).norm()) / size
            if observation.before is not None and observation.steps > 0:
                values[f"{role}_moved"] = float((vector - observation.before[name].double()).norm()) / size
        return measured(values)

    def findings(self, history: History) -> Sequence[Finding]:
        """Return players that do not move, and steps that are too large."""
        findings = []
        for role in ("generator", "discriminator"):
            moved = finite(history[f"update_ratio.{role}_moved"])
            if len(moved) >= 3 and moved.max() == 0:
                evidence = f"The {role}'s weights have not changed in {history.steps[-1]} steps."
                failure = "wiring" if role == "generator" else "generator overpowers or discriminator dead"
                remedy = f"Give the {role}'s parameters a learning rate above 0, requires_grad, and a gradient."
                findings.append(Finding(failure, evidence, 0.9, remedy))
        reach = history.reach
        if not findings and reach is not None and reach < self.still and history.stuck:
            evidence = (
                f"In the {history.total} steps of a run, at its pace, the generator's weights move by {reach:.1g} of "
                "their size at most: it stands still."
            )
            remedy = (
                "Use a larger learning rate; decay a schedule by epochs, not steps; clip gradients at 1, not below."
            )
            findings.append(Finding("vanishing gradient", evidence, 0.75, remedy))
        blown = [finding for role in ("generator", "discriminator") for finding in self._blown(history, role)]
        return [*findings, *sorted(blown, key=lambda finding: -finding.certainty)[:1]]

    def _blown(self, history: History, role: str) -> list[Finding]:
        sizes, ratios = finite(history[f"update_ratio.{role}_size"]), finite(history[f"update_ratio.{role}"])
        remedy = "Use a smaller learning rate, e.g. 2e-4, and clipped gradients."
        if len(sizes) >= 3 and sizes[-1] > self.grown * sizes[0]:
            evidence = f"The {role}'s weights have grown by a factor of {sizes[-1] / sizes[0]:.3g}."
            return [Finding("blow-up", evidence, 0.85 if sizes[-1] > 10 * self.grown * sizes[0] else 0.7, remedy)]
        stuck = history.stuck
        if len(ratios) >= 3 and ratios.max() > 3 * self.large and stuck:
            evidence = f"One step moves the {role}'s weights by up to {ratios.max():.0%} of their size."
            return [Finding("blow-up", evidence, 0.8 if ratios.max() > 5 * self.large else 0.65, remedy)]
        late = ratios[len(ratios) // 2 :]
        if len(late) >= 3 and np.median(late) > self.large and stuck:
            evidence = f"One step moves the {role}'s weights by {np.median(late):.0%} of their size."
            return [Finding("blow-up", evidence, 0.6, remedy)]
        return []
