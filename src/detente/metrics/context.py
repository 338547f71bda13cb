"""The input of metrics and diagnostics: a game at a state, with samples that are drawn once and shared."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Iterator
from functools import cached_property
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

import torch
from torch import Tensor

from detente.data.base import Data
from detente.deprecated import lookup
from detente.errors import InvalidValue
from detente.metrics.features.real_samples import REAL, data_of, real_parts

if TYPE_CHECKING:
    from detente.game import Game
    from detente.state import State

Result = TypeVar("Result")
Item = TypeVar("Item")
PART = 2048  # samples drawn in one call of the generator


class NotAvailable(InvalidValue):
    """Raised if a game lacks something that a metric needs; the metric is then not measured, and the run continues."""


class Track(Protocol):
    """Shows the progress of a long iteration."""

    def __call__(self, items: Iterable[Item], name: str, total: int) -> Iterable[Item]:
        """Return the same items."""
        ...


def untracked(items: Iterable[Item], name: str, total: int) -> Iterable[Item]:
    """Return the items, without showing any progress."""
    del name, total
    return items


class EvaluationContext:
    """A game at a state, for metrics and diagnostics, which change neither.

    Metrics read samples and data from it. If the game does not have them, the context raises `NotAvailable`.

    Args:
        game: the game.
        state: the state after a step.
        generator: source of randomness for the measurement. Do not pass training's generator, so that a run with
            measurements equals the run without.
        samples: number of samples that `samples` draws, at least 1.
        track: shows the progress of long measurements.
    """

    track: Track = staticmethod(untracked)

    def __init__(
        self, game: Game, state: State, generator: torch.Generator, samples: int = 2048, track: Track = untracked
    ) -> None:
        self.game, self.state, self.generator, self.count, self.track = game, state, generator, samples, track

    @cached_property
    def samples(self) -> Tensor:
        """Samples of the generator, (count, *shape), without gradient, drawn at the first access.

        Raises:
            NotAvailable: the game has no method `sample(state, count, generator)`.
        """
        sample = getattr(self.game, "sample", None)
        if sample is None:
            raise NotAvailable("game", type(self.game).__name__, "a game with samples", "This one has no generator")
        counts = [min(PART, self.count - start) for start in range(0, self.count, PART)]
        with torch.no_grad():
            parts = [sample(self.state, n, self.generator) for n in self.track(counts, "samples", len(counts))]
        return parts[0] if len(parts) == 1 else torch.cat(parts)

    @property
    def data(self) -> Any:
        """The data of the game, or None if it has none. Those of a `DataLoader` are the samples in its batches."""
        return data_of(self.game)

    def real(self, count: int = REAL) -> Tensor:
        """Return real samples, (≤ count, *shape) float32: always the same ones, in random order; all of a smaller set.

        Raises:
            NotAvailable: the game has no data.
        """
        return torch.cat([part["real"] for part in self._real_parts(count)])

    def real_labels(self, count: int = REAL) -> Tensor:
        """Return the labels of `real(count)`, (≤ count,) int64.

        Raises:
            NotAvailable: the game has no data, or its data have no labels.
        """
        parts = list(self._real_parts(count))
        if "label" not in parts[0]:
            raise NotAvailable("game", type(self.game).__name__, "a game whose data have labels")
        return torch.cat([part["label"] for part in parts])

    def once(self, key: Hashable, compute: Callable[[], Result]) -> Result:
        """Return the result of `compute`, which runs once per `key`; later calls share the result."""
        if key not in self._results:
            self._results[key] = compute()
        return self._results[key]

    @cached_property
    def _results(self) -> dict[Hashable, Any]:
        return {}

    def _real_parts(self, count: int) -> Iterator[dict[str, Tensor]]:
        if not isinstance(self.data, Data):
            raise NotAvailable("game", type(self.game).__name__, "a game with real data")
        return real_parts(self.data, count)


__getattr__ = lookup(__name__)
