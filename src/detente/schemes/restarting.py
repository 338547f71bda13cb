"""Restart training from the average of its iterates, at random times."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

import torch

from detente.errors import require
from detente.game import Buffers, Vectors
from detente.ranks import all_of_parts, own_part
from detente.schedules.base import Schedule, value
from detente.schemes.wrapper import Wrapper
from detente.state import State, Tree


@dataclass(frozen=True)
class Restarting(Wrapper):
    """Training restarts from an average: x ← x̄ with probability p whenever the field takes a new snapshot.

    x̄ is the uniform average of all players' iterates since the last restart, including the point of restart. Metrics
    and samples use x̄. At a restart the snapshot is taken at x̄; the optimizers' memory and the buffers do not change.
    With a field that takes no snapshots there are no restarts, and x̄ is the uniform average of all iterates.

    Args:
        inner: the scheme to train with.
        probability: p, in [0, 1], or a schedule.

    Source: Chavdarova et al. 2019, Reducing Noise in GAN Training with Variance Reduced Extragradient
        (arXiv:1904.08598), restarted SVRE; p from its code.
    """

    divided: ClassVar[tuple[str, ...]] = ("average",)

    probability: float | Schedule = 0.1

    def __post_init__(self) -> None:
        valid = isinstance(self.probability, Schedule) or 0 <= self.probability <= 1
        require(valid, "probability", self.probability, "a number in [0, 1], or a schedule")

    def initial_memory(self, vectors: Vectors, buffers: Buffers) -> Tree:
        """Return the initial point as the first average."""
        del buffers
        return {"average": _copies(vectors), "count": torch.ones_like(next(iter(vectors.values()))[0]).double()}

    def restart(self, state: State, generator: torch.Generator) -> State:
        """Return the state, or with probability p the state at the average."""
        state = super().restart(state, generator)
        probability = float(value(self.probability, state.t))
        if float(torch.rand((), generator=generator, device=generator.device)) >= probability:
            return state
        scheme = state.memory["scheme"]
        memory = {**state.memory, "scheme": {**scheme, "count": torch.ones_like(scheme["count"])}}
        return replace(state, vectors=_copies(all_of_parts(scheme["average"], state.vectors)), memory=memory)

    def afterwards(self, state: State, memory: Tree) -> tuple[State, Tree]:
        """Return the state unchanged, and the updated average."""
        count = memory["count"] + 1
        average = {
            name: torch.lerp(mean, own_part(state.vectors[name]), (1 / count).to(mean.dtype))
            for name, mean in memory["average"].items()
        }
        return state, {"average": average, "count": count}

    def eval_state(self, state: State) -> State:
        """Return the state at the average."""
        return replace(super().eval_state(state), vectors=state.memory["scheme"]["average"])


def _copies(vectors: Vectors) -> Vectors:
    return {name: vector.clone() for name, vector in vectors.items()}
