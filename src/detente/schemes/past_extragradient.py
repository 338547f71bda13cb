"""Extragradient at the price of one gradient: the trial step uses the last one."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch

from detente.fields.base import Field
from detente.game import Batch, Buffers, Vectors
from detente.schemes.base import Play, Scheme, Turns, told
from detente.state import Info, State, Tree


@dataclass(frozen=True)
class PastExtragradient(Scheme):
    """A trial step along the field last seen: x½ = x − η v_{t−½}, x ← x − η v_{t+½} with v_{t+½} = v(x½).

    The first trial step has length zero. The optimizers' memory is updated by the real step only, since the last
    field has entered it already.

    Source: Popov 1980; Gidel et al. 2019 (arXiv:1802.10551), eq. 17-18 (extrapolation from the past).
    """

    def gradient_evaluations(self, field: Field, players: tuple[str, ...]) -> int:
        """Return one evaluation of the field."""
        return field.gradient_evaluations(players, players)

    def initial(self, play: Play, vectors: Vectors, buffers: Buffers, generator: torch.Generator) -> Tree:
        """Return a zero field as the last one seen."""
        return {"last": {name: torch.zeros_like(vector) for name, vector in vectors.items()}}

    def __call__(self, play: Play, state: State, batches: tuple[Batch, ...], noise: Turns) -> tuple[State, Info]:
        """Return the state after one step."""
        origin, optimizers = state.vectors, state.memory["optimizers"]
        state = play.advance(state, state.memory["scheme"]["last"], noise[0])
        evaluation, state = play.evaluate(state, batches[0])
        memory = {**state.memory, "optimizers": optimizers, "scheme": {"last": evaluation.field}}
        state = play.advance(replace(state, memory=memory), evaluation.field, noise[0], origin=origin)
        return state.after(), told(evaluation)
