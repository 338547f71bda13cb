"""The base class of schemes that wrap another scheme."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass, replace

import torch

from detente.fields.base import Field
from detente.game import Batch, Buffers, Game, Vectors
from detente.ranks import Ranks
from detente.schemes.base import Noise, NoisePerBatch, Scheme, StepContext
from detente.state import Info, State, Tree


@dataclass(frozen=True)
class Wrapper(Scheme):
    """A scheme that takes a step of another scheme and then processes the result.

    Its memory holds its own values, and the inner scheme's memory under "inner".

    Args:
        inner: the scheme whose steps to take.
    """

    inner: Scheme

    @property
    def allows_in_place(self) -> bool:
        """Whether the inner scheme allows it; a wrapper's memory holds copies."""
        return self.inner.allows_in_place

    @property
    def traceable(self) -> bool:
        """Whether the inner scheme can be traced."""
        return self.inner.traceable

    def check(self, game: Game, field: Field) -> None:
        """Raise `InvalidValue` if the inner scheme does not support the game or the field."""
        self.inner.check(game, field)

    def draws(self, players: tuple[str, ...]) -> int:
        """Return the number of batches that the inner scheme uses."""
        return self.inner.draws(players)

    def batches_of_rank(self, batches: tuple[Batch, ...], ranks: Ranks, parts: int) -> tuple[Batch, ...]:
        """Return what the inner scheme evaluates on one rank."""
        return self.inner.batches_of_rank(batches, ranks, parts)

    def divided_names(self) -> tuple[str, ...]:
        """Return the names of `divided`, and of the inner scheme's."""
        return (*self.divided, *(f"inner/{name}" for name in self.inner.divided_names()))

    def memory_of_rank(self, memory: Tree, ranks: Ranks) -> Tree:
        """Return what one rank holds of the inner scheme's memory, and this scheme's own."""
        return {**memory, "inner": self.inner.memory_of_rank(memory["inner"], ranks)}

    def whole_memory(self, memory: Tree, ranks: Ranks) -> Tree:
        """Return the inner scheme's memory of all ranks, and this scheme's own."""
        return {**memory, "inner": self.inner.whole_memory(memory["inner"], ranks)}

    def gradient_evaluations(self, field: Field, players: tuple[str, ...]) -> int:
        """Return the cost of the inner scheme."""
        return self.inner.gradient_evaluations(field, players)

    def random(self, vectors: Vectors, generator: torch.Generator) -> Noise:
        """Return the inner scheme's random numbers."""
        return self.inner.random(vectors, generator)

    def initial(self, context: StepContext, vectors: Vectors, buffers: Buffers, generator: torch.Generator) -> Tree:
        """Return the inner scheme's memory and this scheme's own."""
        memory = self.initial_memory(vectors, buffers)
        return {"inner": self.inner.initial(context, vectors, buffers, generator), **memory}

    def restart(self, state: State, generator: torch.Generator) -> State:
        """Return the state from which the inner scheme continues."""
        memory, inner = state.memory["scheme"], self.inner.restart(_inside(state), generator)
        return replace(inner, memory={**inner.memory, "scheme": {**memory, "inner": inner.memory["scheme"]}})

    def eval_state(self, state: State) -> State:
        """Return the state that the inner scheme uses for metrics and samples; needs the whole memory of all ranks."""
        return replace(self.inner.eval_state(_inside(state)), memory=state.memory)

    @abstractmethod
    def initial_memory(self, vectors: Vectors, buffers: Buffers) -> Tree:
        """Return this scheme's own memory before the first step: copies of tensors, never the tensors themselves."""

    @abstractmethod
    def afterwards(self, state: State, memory: Tree) -> tuple[State, Tree]:
        """Return the state from which to continue, and this scheme's own new memory.

        Args:
            state: the state after the inner scheme's step; its `t` is the number of steps so far.
            memory: this scheme's own memory before the step.
        """

    def __call__(
        self, context: StepContext, state: State, batches: tuple[Batch, ...], noise: NoisePerBatch
    ) -> tuple[State, Info]:
        """Return the state after the inner scheme's step and `afterwards`."""
        memory = state.memory["scheme"]
        state, info = self.inner(context, _inside(state), batches, noise)
        inner = state.memory["scheme"]
        state, memory_after = self.afterwards(state, memory)
        return replace(state, memory={**state.memory, "scheme": {"inner": inner, **memory_after}}), info


def _inside(state: State) -> State:
    """Return a wrapper's state with the inner scheme's memory only."""
    return replace(state, memory={**state.memory, "scheme": state.memory["scheme"]["inner"]})
