"""Names on the command line and in YAML files: games, methods, and their parts."""

from __future__ import annotations

import inspect
import types
import typing
from collections.abc import Callable
from typing import Any

from detente import methods
from detente.cli.imports import hints as hints
from detente.cli.imports import imported
from detente.errors import unknown
from detente.game import Game
from detente.games import presets
from detente.methods.method import Method
from detente.registry import FOLDERS, members

Table = dict[str, Callable[..., Any]]


def games() -> Table:
    """Return every game by name: the ready-made ones, and the members of `detente.games`."""
    return dict(sorted({**members("games"), **presets.names()}.items()))


def named_methods() -> Table:
    """Return every method by name: the table of papers, and `method` for your own triple."""
    return {**methods.names(), "method": Method}


def members_for(annotation: Any) -> Table:
    """Return by name the members that fit a parameter's type, e.g. every penalty for `Sequence[Penalty]`."""
    if inspect.isclass(annotation) and typing.get_origin(annotation) is None:
        return _members_of(annotation)
    inside = typing.get_args(annotation) if typing.get_origin(annotation) is not typing.Literal else ()
    return {name: member for kind in inside for name, member in members_for(kind).items()}


def alternatives(annotation: Any) -> tuple[Any, ...]:
    """Return the types of a union, or the one type."""
    united = typing.get_origin(annotation) in (typing.Union, types.UnionType)
    return typing.get_args(annotation) if united else (annotation,)


def named(field: str, name: str, table: Table) -> Any:
    """Return what a name or an import path stands for.

    Raises:
        InvalidValue: no such name, or nothing that can be imported; the message names `field`, the option.
    """
    if name in table:
        return table[name]
    if "." not in name.strip("."):
        raise unknown(field, str(name), table)
    return imported(name, field)


def _members_of(role: type) -> Table:
    tables = {Game: games, Method: named_methods}
    if role in tables:
        return tables[role]()
    for folder, path in FOLDERS.items():
        if path.endswith(f".{role.__name__}") and imported(path, folder) is role:
            return dict(members(folder))
    return {}
