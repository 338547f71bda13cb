"""The table of papers: each published method as its triple of field, scheme and optimizer, with the paper's defaults.

Most functions take `optimizer`, the name of a member of `detente.optimizers` or a built one, and `learning_rate`,
which goes to a named optimizer (default: the one stated): one rate for all players, or one for each (two time-scales),
by name or in the order of the game's players. The decorator `registered` says when to use a method, its limits and its
memory; its docstring ends with `Source:`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from detente.methods.method import Method
from detente.registry import functions

if TYPE_CHECKING:

    def __getattr__(name: str) -> Callable[..., Method]: ...


def names() -> dict[str, Callable[..., Method]]:
    """Return every method by name: the public functions of this folder's files that return a `Method`."""
    return functions(__name__, Method)


globals().update(names())
