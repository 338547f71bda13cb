"""Within one step, a module's call at the same point is made once, with its graph.

Compiled steps need none of this, since compiling merges repeated computations.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import Tensor


class ForwardCache:
    """Vectors as leaves of autograd's graph, and what modules computed from them, found again by identity.

    Made for one step, and handed down to the calls of modules in `EvaluationSettings`.

    Args:
        players: who have not moved yet, so that what their modules compute now may be asked for again.
    """

    def __init__(self, players: tuple[str, ...]) -> None:
        self._players = set(players)
        self._leaves: dict[int, tuple[Tensor, Tensor]] = {}
        self._calls: dict[tuple[int, ...], tuple[tuple[object, ...], Any]] = {}

    def leaves(
        self, vectors: dict[str, Tensor], players: tuple[str, ...], as_leaf: Callable[[Tensor], Tensor]
    ) -> dict[str, Tensor]:
        """Return the vectors, those of `players` and of who has not moved yet as leaves; one leaf for each vector."""
        for name, vector in vectors.items():
            if name in (*self._players, *players) and id(vector) not in self._leaves:
                self._leaves[id(vector)] = vector, as_leaf(vector)
        return {name: self._leaves.get(id(vector), (vector, vector))[1] for name, vector in vectors.items()}

    def get(self, leaf: Tensor, inputs: tuple[object, ...], compute: Callable[[], Any]) -> Any:
        """Return `compute()`, or its earlier result for the same leaf and the very same inputs."""
        if not any(leaf is entry for _, entry in self._leaves.values()):
            return compute()
        key = (id(leaf), *map(id, inputs))
        if key not in self._calls:
            self._calls[key] = inputs, compute()  # the inputs are held, so that no others get their identities
        return self._calls[key][1]

    def moved(self, player: str, vector: Tensor) -> None:
        """Forget where a player was, which may be overwritten soon, and all that was computed there."""
        self._players.discard(player)
        _, leaf = self._leaves.pop(id(vector), (None, None))
        self._calls = {key: entry for key, entry in self._calls.items() if key[0] != id(leaf)}
