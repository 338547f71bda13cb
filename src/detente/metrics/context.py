"""What a measurement looks at: a game at a state, with samples that are drawn once and shared."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from functools import cached_property
from typing import TYPE_CHECKING, Any, TypeVar

import torch
from torch import Tensor

from detente.deprecated import lookup

if TYPE_CHECKING:
    from detente.game import Game
    from detente.state import State

Found = TypeVar("Found")


class EvaluationContext:
    """A game at a state, as metrics and diagnostics see it; neither is changed by looking.

    Args:
        game: the game.
        state: the state, as a step returned it.
        generator: source of the measurement's randomness; never the one that training draws from, so that a run with
            measurements equals the run without.
        samples: number of samples that `samples` draws, at least 1.
    """

    def __init__(self, game: Game, state: State, generator: torch.Generator, samples: int = 2048) -> None:
        self.game, self.state, self.generator, self.count = game, state, generator, samples

    @cached_property
    def samples(self) -> Tensor:
        """Samples of the generator, (count, *shape), without gradient, drawn at the first look."""
        with torch.no_grad():
            game: Any = self.game  # only games with a generator can be sampled
            return game.sample(self.state, self.count, self.generator)

    @property
    def data(self) -> Any:
        """The data of the game, or None where it has none."""
        return getattr(self.game, "data", None)

    def once(self, key: Hashable, compute: Callable[[], Found]) -> Found:
        """Return what `compute` finds, computed at the first look under `key` and shared by all later ones."""
        if key not in self._found:
            self._found[key] = compute()
        return self._found[key]

    @cached_property
    def _found(self) -> dict[Hashable, Any]:
        return {}


__getattr__ = lookup(__name__)
