"""Extragradient with one field evaluation per step: the trial step uses the previous field."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

import torch

from detente.fields.base import Field
from detente.game import Batch, Buffers, Vectors
from detente.ranks import own_parts
from detente.schemes.base import NoisePerBatch, Scheme, StepContext, step_info
from detente.state import Info, State, Tree


@dataclass(frozen=True)
class PastExtragradient(Scheme):
    """A trial step along the previous field: x½ = x − η v_{t−½}, x ← x − η v_{t+½} with v_{t+½} = v(x½).

    In the trial step, an optimizer with memory repeats its last move at the current learning rate: each field enters
    the memory once, at the real step. So with Adam, the trial points move like those of Optimistic Adam. (In Algorithm
    4 of Gidel et al. the stored gradient enters Adam's moments a second time, at the trial step.) The first trial step
    has length zero.

    Source: Popov 1980; Gidel et al. 2019 (arXiv:1802.10551), eq. 17-18 (extrapolation from the past).
    """

    divided: ClassVar[tuple[str, ...]] = ("last", "optimizers")

    def gradient_evaluations(self, field: Field, players: tuple[str, ...]) -> int:
        """Return one evaluation of the field."""
        return field.gradient_evaluations(players, players)

    def initial(self, context: StepContext, vectors: Vectors, buffers: Buffers, generator: torch.Generator) -> Tree:
        """Return zeros as the previous field, and the optimizers' memory before that field."""
        return {
            "last": {name: torch.zeros_like(vector) for name, vector in vectors.items()},
            "optimizers": {name: context.optimizers[name].initial(vector) for name, vector in vectors.items()},
        }

    def __call__(
        self, context: StepContext, state: State, batches: tuple[Batch, ...], noise: NoisePerBatch
    ) -> tuple[State, Info]:
        """Return the state after one step."""
        origin, optimizers, past = state.vectors, state.memory["optimizers"], state.memory["scheme"]
        before = replace(state, memory={**state.memory, "optimizers": past["optimizers"]})
        trial = context.advance(before, past["last"], noise[0])
        evaluation, state = context.evaluate(trial, batches[0])
        scheme = {"last": own_parts(evaluation.field, origin), "optimizers": optimizers}
        memory = {**state.memory, "optimizers": optimizers, "scheme": scheme}
        state = context.advance(replace(state, memory=memory), evaluation.field, noise[0], origin=origin)
        return state.after(), step_info(evaluation)
