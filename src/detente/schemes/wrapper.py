"""A scheme around another one."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass, replace

import torch

from detente.fields.base import Field
from detente.game import Batch, Buffers, Game, Vectors
from detente.schemes.base import Noise, NoisePerBatch, Scheme, StepContext
from detente.state import Info, State, Tree


@dataclass(frozen=True)
class Wrapper(Scheme):
    """A scheme around another one, which takes the other's step and then does something of its own.

    Its memory is its own, and under "inner" the other's.

    Args:
        inner: whose steps are taken.
    """

    inner: Scheme

    @property
    def allows_in_place(self) -> bool:
        """Whether the inner scheme never looks back; what a wrapper keeps are copies."""
        return self.inner.allows_in_place

    @property
    def traceable(self) -> bool:
        """Whether the inner scheme can be traced."""
        return self.inner.traceable

    def check(self, game: Game, field: Field) -> None:
        """Raise `InvalidValue` where the inner scheme cannot be played."""
        self.inner.check(game, field)

    def draws(self, players: tuple[str, ...]) -> int:
        """Return as many batches as the inner scheme uses."""
        return self.inner.draws(players)

    def gradient_evaluations(self, field: Field, players: tuple[str, ...]) -> int:
        """Return what the inner scheme costs."""
        return self.inner.gradient_evaluations(field, players)

    def random(self, vectors: Vectors, generator: torch.Generator) -> Noise:
        """Return the inner scheme's random numbers."""
        return self.inner.random(vectors, generator)

    def initial(self, context: StepContext, vectors: Vectors, buffers: Buffers, generator: torch.Generator) -> Tree:
        """Return the inner scheme's memory beside this one's."""
        return {
            "inner": self.inner.initial(context, vectors, buffers, generator),
            **self.initial_memory(vectors, buffers),
        }

    def restart(self, state: State, generator: torch.Generator) -> State:
        """Return the state from which the inner scheme would go on."""
        memory, inner = state.memory["scheme"], self.inner.restart(_inside(state), generator)
        return replace(inner, memory={**inner.memory, "scheme": {**memory, "inner": inner.memory["scheme"]}})

    def eval_state(self, state: State) -> State:
        """Return what the inner scheme would have measured."""
        return replace(self.inner.eval_state(_inside(state)), memory=state.memory)

    @abstractmethod
    def initial_memory(self, vectors: Vectors, buffers: Buffers) -> Tree:
        """Return what is initial_memory before the first step: copies, never the tensors themselves."""

    @abstractmethod
    def afterwards(self, state: State, memory: Tree) -> tuple[State, Tree]:
        """Return the state to go on from, and what is initial_memory now.

        Args:
            state: as the inner scheme's step left it; its `t` is the number of steps taken.
            memory: what was initial_memory.
        """

    def __call__(
        self, context: StepContext, state: State, batches: tuple[Batch, ...], noise: NoisePerBatch
    ) -> tuple[State, Info]:
        """Return the state after the inner scheme's step and what follows it."""
        memory = state.memory["scheme"]
        state, info = self.inner(context, _inside(state), batches, noise)
        inner = state.memory["scheme"]
        state, memory_after = self.afterwards(state, memory)
        return replace(state, memory={**state.memory, "scheme": {"inner": inner, **memory_after}}), info


def _inside(state: State) -> State:
    """Return a wrapper's state as the inner scheme knows it."""
    return replace(state, memory={**state.memory, "scheme": state.memory["scheme"]["inner"]})
