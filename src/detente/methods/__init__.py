"""Methods: each published method as a field, a scheme and an optimizer, with the paper's defaults.

Most functions have the arguments `optimizer` and `learning_rate`. `optimizer` is an optimizer, or the name of a member
of `detente.optimizers`. `learning_rate` applies to a named optimizer: one rate for all players, or one per player (two
time-scales), by name or in the order of the game's players; each docstring states the default. The decorator
`registered` describes when to use a method, its limits and its memory; the docstring ends with `Source:`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from detente.methods.method import Method
from detente.registry import functions

if TYPE_CHECKING:

    def __getattr__(name: str) -> Callable[..., Method]: ...


def names() -> dict[str, Callable[..., Method]]:
    """Return all methods by name: the public functions in this package's modules that return a `Method`."""
    return functions(__name__, Method)


globals().update(names())
