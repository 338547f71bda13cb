"""Restart, now and then, from the average of where the training has been."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch

from detente.errors import require
from detente.game import Buffers, Vectors
from detente.schemes.wrapper import Wrapper
from detente.state import State, Tree


@dataclass(frozen=True)
class Restarting(Wrapper):
    """Averages that training goes on from: x ← x̄ with probability p whenever the field takes a new snapshot.

    x̄ is the uniform average of everybody's iterates since the last restart, the point of restart among them; it is
    also what is measured and sampled. The snapshot is then taken at x̄. Optimizers and buffers go on as they are. With
    a field that never looks at the whole set there are no restarts, and x̄ is the uniform average of all iterates.

    Args:
        inner: whose steps are taken.
        probability: p, in [0, 1].

    Source: Chavdarova et al. 2019, Reducing Noise in GAN Training with Variance Reduced Extragradient
        (arXiv:1904.08598), restarted SVRE; p from its code.
    """

    probability: float = 0.1

    def __post_init__(self) -> None:
        require(0 <= self.probability <= 1, "probability", self.probability, "a number in [0, 1]")

    def initial_memory(self, vectors: Vectors, buffers: Buffers) -> Tree:
        """Return the initial point as its own average."""
        del buffers
        return {"average": _copies(vectors), "count": torch.ones_like(next(iter(vectors.values()))[0]).double()}

    def restart(self, state: State, generator: torch.Generator) -> State:
        """Return the state, or with probability p the average as a new beginning."""
        state = super().restart(state, generator)
        if float(torch.rand((), generator=generator, device=generator.device)) >= self.probability:
            return state
        own_memory = state.memory["scheme"]
        memory = {**state.memory, "scheme": {**own_memory, "count": torch.ones_like(own_memory["count"])}}
        return replace(state, vectors=_copies(own_memory["average"]), memory=memory)

    def afterwards(self, state: State, memory: Tree) -> tuple[State, Tree]:
        """Return the state as it is, and the average with it taken in."""
        count = memory["count"] + 1
        average = {
            name: torch.lerp(mean, state.vectors[name], (1 / count).to(mean.dtype))
            for name, mean in memory["average"].items()
        }
        return state, {"average": average, "count": count}

    def eval_state(self, state: State) -> State:
        """Return the state with averages in place of the iterates."""
        return replace(super().eval_state(state), vectors=state.memory["scheme"]["average"])


def _copies(vectors: Vectors) -> Vectors:
    return {name: vector.clone() for name, vector in vectors.items()}
