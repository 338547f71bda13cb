"""Names on the command line: games, methods and their parts, import paths of a user's own, and types in words."""

from __future__ import annotations

import collections.abc
import dataclasses
import importlib.util
import inspect
import re
import sys
import types
import typing
from inspect import Parameter
from typing import Any

from detente.cli.terminal import one_line
from detente.deprecated import current
from detente.errors import InvalidValue, unknown
from detente.registry import FOLDERS, described, described_functions, name_of
from detente.registry.outlines import Outline, outline

Table = dict[str, collections.abc.Callable[..., Any]]
GAME, METHOD = "detente.game.Game", "detente.methods.method.Method"
BY_NAME = (Parameter.POSITIONAL_OR_KEYWORD, Parameter.KEYWORD_ONLY)
NOUNS = {int: "integer", float: "number", str: "word", object: "path", Any: "value"}
MODULE = "torch.nn.modules.module.Module"  # where torch.nn.Module is defined
PHRASES = {bool: "true or false", type(None): "None"}
PHRASES_BY_PATH = dict.fromkeys(("torch.nn.Module", MODULE), "an nn.Module") | {
    role: f"a name from `detente list {folder}`, or MODULE.NAME of your own"
    for folder, role in {"games": GAME, "methods": METHOD}.items()
}


def games() -> Table:
    """Return every game by name: the ready-made ones, and the members of `detente.games`."""
    return dict(sorted({**described("games"), **described_functions("detente.games.presets", "Game")}.items()))


def named_methods() -> Table:
    """Return every method by name: the table of papers, and `method` for your own triple."""
    return {**described_functions("detente.methods", "Method"), "method": outline(METHOD)}


def members_for(kind: Any) -> Table:
    """Return by name the members that fit a parameter's type, e.g. every penalty for `Sequence[Penalty]`."""
    if parts := typing.get_args(kind):
        return {name: member for part in parts for name, member in members_for(part).items()}
    path = path_of(kind)
    if path in (GAME, METHOD):
        return games() if path == GAME else named_methods()
    for folder, role in FOLDERS.items():
        if path == role or path == MODULE and role == "torch.nn.Module":
            return dict(described(folder))
    return {}


def path_of(kind: Any) -> str:
    """Return the import path of a class; empty for anything else."""
    return f"{kind.__module__}.{kind.__qualname__}" if inspect.isclass(kind) else ""


def loaded(kind: Any) -> Any:
    """Return what an outline describes, imported; anything else unchanged."""
    return kind.load() if isinstance(kind, Outline) else kind


def alternatives(kind: Any) -> tuple[Any, ...]:
    """Return the types of a union, or the one type."""
    return typing.get_args(kind) if typing.get_origin(kind) in (typing.Union, types.UnionType) else (kind,)


def find(field: str, name: str, table: Table) -> Any:
    """Return what a name of a table or an import path stands for; a user's modules are in the current directory."""
    if name in table:
        return table[name]
    if "." not in name.strip("."):
        raise unknown(field, str(name), table)
    sys.path[:0] = [] if "" in sys.path else [""]
    try:
        if name.startswith("detente."):
            return outline(current(name))
    except (OSError, NameError, TypeError):  # what outlines do not describe is imported
        pass
    try:
        *modules, last = current(name).split(".")
        item = importlib.import_module(modules[0])
        for part in modules[1:]:  # a submodule before a function of the same name in the package's __init__
            path = f"{item.__name__}.{part}"
            is_module = hasattr(item, "__path__") and importlib.util.find_spec(path)
            item = importlib.import_module(path) if is_module else getattr(item, part)
        return getattr(item, last)
    except Exception as error:  # a user's own module may raise anything
        allowed = "MODULE.NAME of a class or function that can be imported"
        raise InvalidValue(field, str(name), allowed, one_line(error)) from error


def parameters(target: Any) -> tuple[dict[str, Parameter], bool]:
    """Return the keyword parameters of a callable, with their types, and whether it takes any other keyword."""
    if isinstance(target, Outline):
        return target.parameters()
    inner = getattr(target, "func", target)  # of a functools.partial
    generated = dataclasses.is_dataclass(inner) and inner.__dataclass_params__.init  # type: ignore[union-attr]
    initialized = inspect.isclass(inner) and not generated
    try:
        signature = inspect.signature(target).parameters
    except (TypeError, ValueError):  # written in C
        return {}, True
    try:
        hints = typing.get_type_hints(inner.__init__ if initialized else inner)
    except Exception:  # a user's own annotations may name anything
        hints = {}
    known = {name: parameter for name, parameter in signature.items() if parameter.kind in BY_NAME}
    for name, parameter in known.items():
        hint, field = hints.get(name, Any), getattr(inner, "__dataclass_fields__", {}).get(name)
        if field is not None and callable(field.default_factory):
            parameter = parameter.replace(default=field.default_factory())
        known[name] = parameter.replace(annotation=hint.type if isinstance(hint, dataclasses.InitVar) else hint)
    return known, any(parameter.kind is Parameter.VAR_KEYWORD for parameter in signature.values())


def in_words(kind: Any, plural: bool = False) -> str:
    """Return a type in words: `float | Schedule | None` → "a number, a schedule or None"."""
    origin, parts = typing.get_origin(kind), typing.get_args(kind)
    if origin in (typing.Literal, typing.Union, types.UnionType):
        words = [*dict.fromkeys(_choices(kind, plural))]
        return " or ".join(filter(None, [", ".join(words[:-1]), words[-1]]))
    if origin is collections.abc.Callable:
        return "MODULE.NAME of a class or function that makes one"
    if parts:
        mapping = issubclass(origin, collections.abc.Mapping)
        of = in_words(parts[mapping], plural=True)
        return f"a mapping from names to {of}" if mapping else f"{'lists' if plural else 'a list'} of {of}"
    kind = kind if inspect.isclass(kind) else Any
    noun = NOUNS.get(kind) or name_of(kind).replace("_", " ")
    phrase = PHRASES.get(kind) or PHRASES_BY_PATH.get(path_of(kind))
    if phrase:
        return phrase
    return re.sub("y$", "ie", noun) + "s" if plural else f"{'an' if noun[0] in 'aeiou' else 'a'} {noun}"


def _choices(kind: Any, plural: bool) -> collections.abc.Iterator[str]:
    """Yield the values of a literal, or the types of a union in words."""
    if typing.get_origin(kind) is typing.Literal:
        yield from map(repr, typing.get_args(kind))
    elif len(alternatives(kind)) > 1:
        for part in alternatives(kind):
            yield from _choices(part, plural)
    else:
        yield in_words(kind, plural)
