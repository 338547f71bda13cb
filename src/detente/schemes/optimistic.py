"""Steps along the next field, predicted from the last two fields."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch

from detente.fields.base import Field
from detente.game import Batch, Buffers, Vectors
from detente.ranks import own_parts
from detente.schemes.base import NoisePerBatch, Scheme, StepContext, step_info
from detente.state import Info, State, Tree


@dataclass(frozen=True)
class Optimistic(Scheme):
    """The field extrapolated by one step: x ← x − η (2 v_t − v_{t−1}), with v_{−1} = v_0.

    The scheme extrapolates the field before the optimizer receives it; with SGD this is optimistic mirror descent.
    (Optimistic Adam extrapolates Adam's moves instead and is a different method.)

    Source: Daskalakis et al. 2018, Training GANs with Optimism (arXiv:1711.00141), eq. 6.
    """

    divided: ClassVar[tuple[str, ...]] = ("last",)

    def gradient_evaluations(self, field: Field, players: tuple[str, ...]) -> int:
        """Return one evaluation of the field."""
        return field.gradient_evaluations(players, players)

    def initial(self, context: StepContext, vectors: Vectors, buffers: Buffers, generator: torch.Generator) -> Tree:
        """Return zeros in place of the last field."""
        return {"last": {name: torch.zeros_like(vector) for name, vector in vectors.items()}}

    def __call__(
        self, context: StepContext, state: State, batches: tuple[Batch, ...], noise: NoisePerBatch
    ) -> tuple[State, Info]:
        """Return the state after one optimistic step."""
        evaluation, state = context.evaluate(state, batches[0])
        field, last = evaluation.field, state.memory["scheme"]["last"]
        directions = {name: 2 * field[name] - torch.where(state.t == 0, field[name], last[name]) for name in field}
        state = context.advance(state, directions, noise[0])
        scheme = {"last": own_parts(field, state.vectors)}
        return state.after(memory={**state.memory, "scheme": scheme}), step_info(evaluation)
