"""Pull all players back, every few steps, towards their earlier parameters."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from detente.autodiff.tracing import is_eager
from detente.errors import require
from detente.game import Buffers, Vectors
from detente.ranks import divides_memory, of_parts, own_part
from detente.schedules.base import Schedule, value
from detente.schemes.wrapper import Wrapper
from detente.state import State, Tree


@dataclass(frozen=True)
class Lookahead(Wrapper):
    """Lookahead for games: every k steps, for all players at once, slow ← slow + α (fast − slow), then fast ← slow.

    If nested, the same happens every k₂ steps with a third, even slower copy, after which all three are equal. The
    optimizers' moments and the buffers do not change. Slow weights start at the initial point; the authors' code
    creates them at the first synchronisation, which therefore has no effect there.

    Args:
        inner: the scheme that takes the fast steps.
        every: k, ≥ 1.
        step: α, in (0, 1], or a schedule.
        nested_every: k₂, a multiple of k, or None for no nesting.

    Source: Chavdarova, Pagliardini, Stich, Fleuret & Jaggi 2021, Taming GANs with Lookahead-Minmax (arXiv:2006.14567),
        Algorithm 1; nested as in its code; Zhang, Lucas, Hinton & Ba 2019 (arXiv:1907.08610).
    """

    divided: ClassVar[tuple[str, ...]] = ("slow", "slower")

    every: int = 5
    step: float | Schedule = 0.5
    nested_every: int | None = None

    def __post_init__(self) -> None:
        require(self.every >= 1, "every", self.every, "an integer ≥ 1")
        valid = isinstance(self.step, Schedule) or 0 < self.step <= 1
        require(valid, "step", self.step, "a number in (0, 1], or a schedule")
        fits = self.nested_every is None or (self.nested_every >= 1 and self.nested_every % self.every == 0)
        require(fits, "nested_every", self.nested_every, f"a multiple of `every`, {self.every}, or None")

    def initial_memory(self, vectors: Vectors, buffers: Buffers) -> Tree:
        """Return the initial point as the slow weights, and also as the slower ones if nested."""
        names = ("slow",) if self.nested_every is None else ("slow", "slower")
        return {name: {player: vector.clone() for player, vector in vectors.items()} for name in names}

    def afterwards(self, state: State, memory: Tree) -> tuple[State, Tree]:
        """Return the state with the fast weights pulled back at every k-th step, and the slow weights."""
        step = value(self.step, state.t - 1, next(iter(state.vectors.values())).dtype)  # of the step just taken
        fast, slow = self._synchronised(state.vectors, memory["slow"], state.t % self.every == 0, step)
        if self.nested_every is None:
            return State(state.t, fast, state.buffers, state.memory), {"slow": slow}
        at_nested_step = state.t % self.nested_every == 0
        fast, slower = self._synchronised(fast, memory["slower"], at_nested_step, step)
        slow = {name: torch.where(at_nested_step, slower[name], slow[name]) for name in slow}
        return State(state.t, fast, state.buffers, state.memory), {"slow": slow, "slower": slower}

    def _synchronised(
        self, fast: Vectors, slow: Vectors, synchronise: Tensor, step: float | Tensor
    ) -> tuple[Vectors, Vectors]:
        """Return the fast and slow weights, synchronised if `synchronise`, bool (), is true.

        Where ranks divide memory, each has its part of the slow weights, and a message gathers the new fast ones.
        """
        if divides_memory() and is_eager(synchronise) and not bool(synchronise):
            return fast, slow
        mixed = {
            name: torch.lerp(
                slow[name], own_part(fast[name]), step.to(fast[name].dtype) if isinstance(step, Tensor) else step
            )
            for name in fast
        }
        return (
            {name: torch.where(synchronise, of_parts(mixed[name], len(fast[name])), fast[name]) for name in fast},
            {name: torch.where(synchronise, mixed[name], slow[name]) for name in fast},
        )
