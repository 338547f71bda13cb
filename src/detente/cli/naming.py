"""Names on the command line: members, import paths of a user's own, the parameters of both, and types in words."""

from __future__ import annotations

import collections.abc
import dataclasses
import importlib.util
import inspect
import re
import sys
import types
import typing
from contextlib import suppress
from inspect import Parameter
from typing import Any

from detente.cli.placeholders import require_known
from detente.cli.terminal import one_line
from detente.deprecated import current
from detente.errors import InvalidValue, unknown
from detente.registry import CHOICES, choices, name_of
from detente.registry.outlines import Outline, outline

MODULE = "torch.nn.modules.module.Module"  # where torch.nn.Module is defined
ROLES = {role: folder for folder, role in CHOICES.items()} | {MODULE: "networks"}
NOUNS = {int: "integer", float: "number", str: "string", object: "path", Any: "value"}
PHRASES = {
    **{"builtins.bool": "true or false", "builtins.NoneType": "None"},
    **dict.fromkeys((MODULE, CHOICES["networks"]), "an nn.Module"),
    CHOICES["games"]: "a name from `detente list games`, or MODULE.NAME of your own",
    CHOICES["methods"]: "a name from `detente list methods`, or MODULE.NAME of your own",
}


def members_for(kind: Any) -> dict[str, Outline]:
    """Return by name the members that fit a parameter's type, e.g. every penalty for `Sequence[Penalty]`."""
    if parts := typing.get_args(kind):
        return {name: member for part in parts for name, member in members_for(part).items()}
    return choices(ROLES[path_of(kind)]) if path_of(kind) in ROLES else {}


def path_of(kind: Any) -> str:
    """Return the import path of a class; empty for anything else."""
    return f"{kind.__module__}.{kind.__qualname__}" if inspect.isclass(kind) else ""


def loaded(kind: Any) -> Any:
    """Return what an outline describes, imported; anything else unchanged."""
    return kind.load() if isinstance(kind, Outline) else kind


def alternatives(kind: Any) -> tuple[Any, ...]:
    """Return the types of a union, or the one type."""
    return typing.get_args(kind) if typing.get_origin(kind) in (typing.Union, types.UnionType) else (kind,)


def is_mapping(kind: Any) -> bool:
    """Return whether a type is that of mappings."""
    origin = typing.get_origin(kind) or kind
    return inspect.isclass(origin) and issubclass(origin, collections.abc.Mapping)


def find(field: str, name: str, table: collections.abc.Mapping[str, Any]) -> Any:
    """Return what a name of a table or an import path stands for; a user's modules are in the current directory."""
    if name in table:
        return table[name]
    if "." not in name.strip("."):
        raise unknown(field, str(name), table)
    sys.path[:0] = [] if "" in sys.path else [""]
    with suppress(OSError, NameError, TypeError):  # what outlines do not describe is imported
        if name.startswith("detente."):
            return outline(current(name))
    try:
        *modules, last = current(name).split(".")
        item = importlib.import_module(modules[0])
        for part in modules[1:]:  # a submodule before a function of the same name in the package's __init__
            path = f"{item.__name__}.{part}"
            is_module = hasattr(item, "__path__") and importlib.util.find_spec(path)
            item = importlib.import_module(path) if is_module else getattr(item, part)
        return require_known(getattr(item, last))
    except Exception as error:  # a user's own module may raise anything
        allowed = "MODULE.NAME of a class or function that can be imported"
        raise InvalidValue(field, str(name), allowed, one_line(error)) from error


def parameters(target: Any) -> tuple[dict[str, Parameter], bool]:
    """Return the keyword parameters of a callable, with their types, and whether it takes any other keyword."""
    if isinstance(target, Outline):
        return target.parameters()
    try:
        signature = inspect.signature(target).parameters
    except (TypeError, ValueError):  # written in C
        return {}, True
    inner, hints, known = getattr(target, "func", target), {}, {}  # inner: of a functools.partial
    for annotated in (inner, inner.__init__) if inspect.isclass(inner) else (inner,):
        with suppress(Exception):  # a user's own annotations may name anything
            hints |= typing.get_type_hints(annotated)
    fields = {field.name: field for field in dataclasses.fields(inner)} if dataclasses.is_dataclass(inner) else {}
    for name, parameter in signature.items():
        if parameter.kind in (Parameter.POSITIONAL_OR_KEYWORD, Parameter.KEYWORD_ONLY):
            hint, factory = hints.get(name, Any), getattr(fields.get(name), "default_factory", None)
            hint = hint.type if isinstance(hint, dataclasses.InitVar) else hint
            default = factory() if callable(factory) else parameter.default
            known[name] = parameter.replace(annotation=hint, default=default)
    return known, any(parameter.kind is Parameter.VAR_KEYWORD for parameter in signature.values())


def in_words(kind: Any, plural: bool = False) -> str:
    """Return a type in words: `float | Schedule | None` → "a number, a schedule or None"."""
    *words, last = dict.fromkeys(word for part in alternatives(kind) for word in _words(part, plural))
    return f"{', '.join(words)} or {last}" if words else last


def _words(kind: Any, plural: bool) -> list[str]:
    """Return a type in words, or the values of a literal."""
    origin, parts = typing.get_origin(kind), typing.get_args(kind)
    if origin is typing.Literal:
        return [*map(repr, parts)]
    if origin is collections.abc.Callable:
        return ["MODULE.NAME of a class or function that makes one"]
    if is_mapping(kind) and parts:
        return [f"a mapping from names to {in_words(parts[1], plural=True)}"]
    if parts:
        return [f"{'lists' if plural else 'a list'} of {in_words(parts[0], plural=True)}"]
    if path_of(kind) in PHRASES:
        return [PHRASES[path_of(kind)]]
    noun = NOUNS.get(kind) or name_of(kind).replace("_", " ") if inspect.isclass(kind) else NOUNS[Any]
    return [re.sub("y$", "ie", noun) + "s" if plural else f"{'an' if noun[0] in 'aeiou' else 'a'} {noun}"]
