"""What the evaluations of one step have in common is computed once: a module's call at the same point, with its graph.

Compiled steps need none of this, since compiling merges repeated computations.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from contextvars import ContextVar
from typing import Any

from torch import Tensor


class Shared:
    """Vectors as leaves of autograd's graph, and what modules made with them, found again by identity.

    Args:
        players: who have yet to move, so that what they make now may be asked for again.
    """

    def __init__(self, players: tuple[str, ...]) -> None:
        self._players = set(players)
        self._leaves: dict[int, tuple[Tensor, Tensor]] = {}
        self._calls: dict[tuple[int, ...], tuple[tuple[object, ...], Any]] = {}

    def leaves(
        self, vectors: dict[str, Tensor], players: tuple[str, ...], leaf: Callable[[Tensor], Tensor]
    ) -> dict[str, Tensor]:
        """Return the vectors, those of `players` and of who has yet to move as leaves, the same for the same vector."""
        for name, vector in vectors.items():
            if name in (*self._players, *players) and id(vector) not in self._leaves:
                self._leaves[id(vector)] = vector, leaf(vector)
        return {name: self._leaves.get(id(vector), (vector, vector))[1] for name, vector in vectors.items()}

    def once(self, leaf: Tensor, given: tuple[object, ...], compute: Callable[[], Any]) -> Any:
        """Return `compute()`, or what it was before for the same leaf and the very same objects."""
        if not any(leaf is one for _, one in self._leaves.values()):
            return compute()
        key = (id(leaf), *map(id, given))
        if key not in self._calls:
            self._calls[key] = given, compute()  # the objects are held, so that no others get their identities
        return self._calls[key][1]

    def moved(self, player: str, vector: Tensor) -> None:
        """Forget where a player was, perhaps soon overwritten, and all that was made there."""
        self._players.discard(player)
        _, leaf = self._leaves.pop(id(vector), (None, None))
        self._calls = {key: kept for key, kept in self._calls.items() if key[0] != id(leaf)}


_SHARED: ContextVar[Shared | None] = ContextVar("shared", default=None)


def shared() -> Shared | None:
    """Return what the step that is being made shares; None where every evaluation is for itself."""
    return _SHARED.get()


@contextmanager
def computing_once(players: tuple[str, ...]) -> Iterator[Shared]:
    """Gradients taken within share the forward passes of players, each of whom moves once, at the same point."""
    found = Shared(players)
    with _told(found):
        yield found


def computing_anew() -> AbstractContextManager[None]:
    """Nothing is shared within: a call that draws random numbers leaves others to those who draw after it."""
    return _told(None)


@contextmanager
def _told(found: Shared | None) -> Iterator[None]:
    token = _SHARED.set(found)
    try:
        yield
    finally:
        _SHARED.reset(token)
