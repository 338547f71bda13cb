"""A cache of module calls within one step, so that calls at the same point share one forward pass and its graph.

Compiled steps do not need the cache, since compilation merges repeated computations.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import Tensor


class Entry:
    """The place of a call's result.

    Attributes:
        result: the result; None until the call is made.
    """

    __slots__ = ("_inputs", "result")

    def __init__(self, inputs: tuple[object, ...]) -> None:
        self._inputs = inputs  # references keep the inputs alive, so that their ids stay unique
        self.result: Any = None


class ForwardCache:
    """Leaves of autograd's graph by vector, and results of module calls by leaf and inputs; keys are object identities.

    Each step creates a cache and passes it to the modules' calls in `EvaluationSettings`.

    Args:
        players: players that have not moved yet, so that their modules may be called again at the same point.
    """

    def __init__(self, players: tuple[str, ...]) -> None:
        self._players = set(players)
        self._leaves: dict[int, tuple[Tensor, Tensor]] = {}  # by vector
        self._calls: dict[int, dict[tuple[int | str, ...], Entry]] = {}  # by leaf
        self.hits = 0  # results that were used again

    def leaves(
        self, vectors: dict[str, Tensor], players: tuple[str, ...], as_leaf: Callable[[Tensor], Tensor]
    ) -> dict[str, Tensor]:
        """Return the vectors; those of `players`, and of players that have not moved yet, as one leaf per vector."""
        points = {}
        for name, vector in vectors.items():
            entry = self._leaves.get(id(vector))
            if entry is None and (name in self._players or name in players):
                leaf = as_leaf(vector)
                entry = self._leaves[id(vector)] = vector, leaf
                self._calls[id(leaf)] = {}
            points[name] = vector if entry is None else entry[1]
        return points

    def entry(self, leaf: Tensor, part: str, inputs: tuple[object, ...]) -> Entry | None:
        """Return the place of the result for a leaf, a part of a module and input objects; None for other vectors."""
        calls = self._calls.get(id(leaf))
        if calls is None:
            return None
        key = (part, *map(id, inputs))
        entry = calls.get(key)
        if entry is None:
            entry = calls[key] = Entry(inputs)
        elif entry.result is not None:
            self.hits += 1
        return entry

    def moved(self, player: str, vector: Tensor) -> None:
        """Remove a player's old vector, which may be overwritten soon, and all results computed from it."""
        self._players.discard(player)
        _, leaf = self._leaves.pop(id(vector), (None, None))
        self._calls.pop(id(leaf), None)
