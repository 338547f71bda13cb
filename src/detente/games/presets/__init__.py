"""Predefined games, each with the networks, data, objective and settings of the papers that use it."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from detente.game import Game
from detente.registry import functions

if TYPE_CHECKING:

    def __getattr__(name: str) -> Callable[..., Game]: ...


def names() -> dict[str, Callable[..., Game]]:
    """Return all predefined games by name: the public functions of this folder's files that return a `Game`."""
    return functions(__name__, Game)


globals().update(names())
