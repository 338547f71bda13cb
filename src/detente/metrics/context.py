"""The input of metrics and diagnostics: a game at a state, with samples that are drawn once and shared."""

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

Result = TypeVar("Result")


class EvaluationContext:
    """A game at a state, for metrics and diagnostics, which change neither.

    Args:
        game: the game.
        state: the state after a step.
        generator: source of randomness for the measurement. Do not pass training's generator, so that a run with
            measurements equals the run without.
        samples: number of samples that `samples` draws, at least 1.
    """

    def __init__(self, game: Game, state: State, generator: torch.Generator, samples: int = 2048) -> None:
        self.game, self.state, self.generator, self.count = game, state, generator, samples

    @cached_property
    def samples(self) -> Tensor:
        """Samples of the generator, (count, *shape), without gradient, drawn at the first access."""
        with torch.no_grad():
            game: Any = self.game  # only games with a generator can be sampled
            return game.sample(self.state, self.count, self.generator)

    @property
    def data(self) -> Any:
        """The data of the game, or None if it has none."""
        return getattr(self.game, "data", None)

    def once(self, key: Hashable, compute: Callable[[], Result]) -> Result:
        """Return the result of `compute`, which runs once per `key`; later calls share the result."""
        if key not in self._results:
            self._results[key] = compute()
        return self._results[key]

    @cached_property
    def _results(self) -> dict[Hashable, Any]:
        return {}


__getattr__ = lookup(__name__)
