"""A cache of module calls within one step, so that calls at the same point share one forward pass and its graph.

Compiled steps do not need the cache, since compilation merges repeated computations.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import Tensor


class ForwardCache:
    """Leaves of autograd's graph by vector, and results of module calls by leaf and inputs; keys are object identities.

    Each step creates a cache and passes it to the modules' calls in `EvaluationSettings`.

    Args:
        players: players that have not moved yet, so that their modules may be called again at the same point.
    """

    def __init__(self, players: tuple[str, ...]) -> None:
        self._players = set(players)
        self._leaves: dict[int, tuple[Tensor, Tensor]] = {}
        self.hits = 0  # results that were used again
        self._calls: dict[tuple[int | str, ...], tuple[tuple[object, ...], Any]] = {}

    def leaves(
        self, vectors: dict[str, Tensor], players: tuple[str, ...], as_leaf: Callable[[Tensor], Tensor]
    ) -> dict[str, Tensor]:
        """Return the vectors; those of `players`, and of players that have not moved yet, as one leaf per vector."""
        points = {}
        for name, vector in vectors.items():
            entry = self._leaves.get(id(vector))
            if entry is None and (name in self._players or name in players):
                entry = self._leaves[id(vector)] = vector, as_leaf(vector)
            points[name] = vector if entry is None else entry[1]
        return points

    def get(self, leaf: Tensor, part: str, inputs: tuple[object, ...], compute: Callable[[], Any]) -> Any:
        """Return `compute()`, or its earlier result for the same leaf, part of a module and input objects."""
        if not any([leaf is entry for _, entry in self._leaves.values()]):
            return compute()
        key = (id(leaf), part, *map(id, inputs))
        if key in self._calls:
            self.hits += 1
        else:
            self._calls[key] = inputs, compute()  # references keep the inputs alive, so that their ids stay unique
        return self._calls[key][1]

    def moved(self, player: str, vector: Tensor) -> None:
        """Remove a player's old vector, which may be overwritten soon, and all results computed from it."""
        self._players.discard(player)
        _, leaf = self._leaves.pop(id(vector), (None, None))
        self._calls = {key: entry for key, entry in self._calls.items() if key[0] != id(leaf)}
