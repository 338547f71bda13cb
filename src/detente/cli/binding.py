"""Values of options checked and converted against the types of parameters, and built."""

from __future__ import annotations

import collections.abc
import inspect
import os
import re
import typing
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from detente.cli.imports import parameters, reason
from detente.cli.naming import alternatives, members_for, named
from detente.cli.option_help import in_words
from detente.cli.yaml_file import read
from detente.errors import InvalidValue, unknown


class Word(str):
    """A value as it was typed at the command line."""

    __repr__ = str.__str__


class Unfit(Exception):
    """A value does not fit a type."""


@dataclass(frozen=True)
class Member:
    """A part that a name or an import path stands for.

    Args:
        field: the option.
        path: the import path, for run.yaml.
        target: the class, function or object.
        settings: its arguments; None for an object, which is not called.
        factory: the callable itself is the value, e.g. to make a module for every seed.
    """

    field: str
    path: str
    target: Any
    settings: dict[str, Any] | None
    factory: bool

    def call(self) -> Any:
        """Return what the target makes; an error names the option."""
        settings = {name: make(value) for name, value in (self.settings or {}).items()}
        try:
            return self.target(**settings)
        except InvalidValue as error:
            raise prefixed(error, self) from error
        except Exception as error:  # a user's own classes may raise anything, and so may torch at impossible sizes
            allowed = "a class or function that can be called with these settings"
            message = f"{type(error).__name__}: {reason(error)}"[:300]
            raise InvalidValue(self.field, self.path, allowed, message) from error


def make(value: Any) -> Any:
    """Return a bound value with every member built."""
    if isinstance(value, Member):
        return value.target if value.settings is None else value.call if value.factory else value.call()
    if isinstance(value, list | tuple):
        return type(value)(make(item) for item in value)
    return {key: make(item) for key, item in value.items()} if isinstance(value, dict) else value


def plain(value: Any) -> Any:
    """Return a bound value as YAML holds it."""
    if isinstance(value, Member):
        settings = {"init_args": plain(value.settings)} if value.settings else {}
        return value.path if value.settings is None else {"class_path": value.path, **settings}
    if isinstance(value, dict):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    return str(value) if isinstance(value, Path) else value


def bind(field: str, annotation: Any, value: Any) -> Any:
    """Return a value converted to a parameter's type, with a `Member` for everything that is to be built.

    Args:
        field: the option, e.g. `game.penalties`.
        annotation: the parameter's type.
        value: as YAML reads it, or a `Word`.

    Raises:
        InvalidValue: it does not fit; or a member does not exist, lacks a setting, or does not have it.
    """
    try:
        return _convert(field, annotation, value)
    except Unfit:
        if isinstance(value, dict) and _typed(value.get("init_args")):
            option = f"--{field}.{next(iter(value['init_args']))}"
            raise InvalidValue("option", option, f"--{field} with {in_words(annotation)}") from None
        table = members_for(annotation) if isinstance(value, str) and value.isidentifier() else {}
        error = unknown(field, str(value), table)
        if not table or float in alternatives(annotation):
            error = InvalidValue(field, str(value) if _typed(value) else value, in_words(annotation), error.hint)
        raise error from None


def prefixed(error: InvalidValue, member: Member) -> InvalidValue:
    """Return an error of a member with options in place of the names of its parameters."""
    settings = member.settings or {}
    equal = [name for name, value in settings.items() if isinstance(value, str) and value == error.value]
    field = error.field
    if re.split(r"[.\[]", field)[0] in settings:
        field = f"{member.field}.{field}"
    elif equal and "." not in field:  # the parameter of an inner part, to which this setting was passed on
        field = f"{member.field}.{equal[0]}"

    def option(match: re.Match[str]) -> str:
        text = f"--{member.field}.{match[1]} {match[2].lower()}"
        return text if match[1] in settings and text not in error.hint else match[0]

    allowed, hint = (re.sub(r"\b([a-z_]+)=\"?(\w+)\"?", option, text) for text in (error.allowed, error.hint))
    return InvalidValue(field, error.value, allowed, hint)


def members_in(value: Any) -> Iterator[Member]:
    """Yield every member in a bound value, outer ones first."""
    if isinstance(value, Member):
        yield value
        value = value.settings
    for item in value.values() if isinstance(value, dict) else value if isinstance(value, list | tuple) else ():
        yield from members_in(item)


def _convert(field: str, annotation: Any, value: Any) -> Any:
    kinds = alternatives(annotation)
    if str in kinds and isinstance(value, dict) and isinstance(value.get("class_path"), Word):
        value = value if _typed(value.get("init_args")) else value["class_path"]
    if type(None) in kinds and (value is None or isinstance(value, str) and read(value) is None):
        return None
    for kind in kinds:
        try:
            return _as(field, kind, value, kinds)
        except Unfit:
            continue
    raise Unfit


def _as(field: str, kind: Any, value: Any, kinds: Sequence[Any]) -> Any:
    """Return a value converted to one type of the alternatives."""
    origin, inside = typing.get_origin(kind) or kind, typing.get_args(kind)
    if isinstance(value, str):
        if kind in (str, Path, object) or (origin is typing.Literal and value in inside):
            return Path(value) if kind is Path else str(value)
        content = read(value)
        value = value if isinstance(content, str) and kind is not Any else content
    described = isinstance(value, dict) and "class_path" in value
    if origin is typing.Literal:
        value = ("off", "on")[value] if isinstance(value, bool) and "on" in inside else value
        return _require(value, value in inside and not isinstance(value, bool))
    if kind in (Any, object) and not described:
        return value
    if kind is float and (isinstance(value, str) or type(value) is int):  # 1e-3 is a string in YAML
        try:
            return float(value)
        except (ValueError, OverflowError):
            raise Unfit from None
    if kind in (bool, int, float, str, Path, type(None)):
        return _require(value, type(value) is kind)
    if origin is collections.abc.Callable:
        return _member(field, inside[1] if inside else object, value, kinds, factory=True)
    if _is_subclass(origin, Mapping):
        items = _require(value, isinstance(value, dict) and not described).items()
        return {str(key): _convert(f"{field}.{key}", inside[1] if inside else Any, item) for key, item in items}
    if _is_subclass(origin, Sequence) or origin is Iterable:
        return _items(field, origin, inside or (Any,), value)
    return _member(field, kind, value, kinds) if inspect.isclass(kind) or described else value


def _items(field: str, origin: Any, inside: tuple[Any, ...], value: Any) -> Any:
    if not isinstance(value, list | tuple):
        if not members_for(inside[0]) or value is None:
            raise Unfit
        value = [value]  # one member stands for a list of one
    fixed = origin is tuple and ... not in inside and inside != (Any,)
    if fixed and len(value) != len(inside):
        raise Unfit
    bound = [_convert(field, inside[index if fixed else 0], item) for index, item in enumerate(value)]
    return tuple(bound) if origin is tuple else bound


def _member(field: str, kind: Any, value: Any, kinds: Sequence[Any], factory: bool = False) -> Member:
    """Return the member that a name, an import path or a mapping with `class_path` stands for."""
    path, settings, table = value, {}, members_for(kind)
    if isinstance(value, dict) and "class_path" in value:
        path, settings = value["class_path"], value.get("init_args") or {}
        if path is None and settings:
            raise InvalidValue(field, None, in_words(kind), f"Say which with --{field} NAME")
        if set(value) - {"class_path", "init_args"} or not isinstance(path, str) or not isinstance(settings, dict):
            raise InvalidValue(field, value, "a name, or a mapping with class_path and init_args")
    elif not isinstance(value, str):
        raise Unfit
    any_text = path is value and (str in kinds or object in kinds)
    if any_text and (str in kinds and path in table or os.path.exists(path)):
        raise Unfit
    if path is value and path not in table and ("." not in path or not all(map(str.isidentifier, path.split(".")))):
        raise Unfit
    try:
        target = named(field, path, table)
    except InvalidValue as error:
        if any_text and isinstance(error.__cause__, ModuleNotFoundError | AttributeError):
            raise Unfit from None
        raise
    import_path = f"{target.__module__}.{target.__qualname__}" if path in table else str(path)
    role = kind if inspect.isclass(kind) and object not in kinds else object
    if inspect.isclass(target) and not issubclass(target, role):
        raise Unfit
    if inspect.isclass(kind) and kind is not object and isinstance(target, kind):
        if factory:
            raise Unfit  # a module, not a factory of modules
    elif callable(target):
        bound = _settings(field, target, settings, isinstance(path, Word))
        return Member(field, import_path, target, bound, factory)
    elif object not in kinds:
        what = "a module" if inspect.ismodule(target) else f"{type(target).__name__}, which cannot be called"
        raise InvalidValue(field, str(path), "MODULE.NAME of a class or function that can be imported", f"It is {what}")
    return Member(field, import_path, target, _settings(field, object, settings, False) or None, factory=False)


def _settings(field: str, target: Any, settings: dict[str, Any], replaced: bool) -> dict[str, Any]:
    """Return a member's settings, bound and with its defaults.

    Args:
        field: the member's option.
        target: what is to be called.
        settings: the settings by name.
        replaced: a word replaced a file's member; of the file's settings, those that do not fit are left out.
    """
    known, takes_others = parameters(target)
    bound: dict[str, Any] = {}
    for name, value in settings.items():
        if name in known or (replaced and not takes_others and not _typed(value)):
            continue
        if takes_others:
            bound[name] = bind(f"{field}.{name}", Any, value)
        elif not known:
            raise InvalidValue(f"{field}.{name}", value, "no settings")
        elif _typed(value):
            raise unknown("option", f"--{field}.{name}", [f"--{field}.{key}" for key in known])
        else:
            raise unknown(f"{field}.{name}", str(name), known)
    for name, parameter in known.items():
        if name in settings:
            bound[name] = bind(f"{field}.{name}", parameter.annotation, settings[name])
        elif parameter.default is parameter.empty:
            raise InvalidValue(f"{field}.{name}", None, in_words(parameter.annotation), "It is required")
        elif _is_plain(parameter.default):
            bound[name] = parameter.default
    return bound


def _typed(value: Any) -> bool:
    """Return whether a value, or something in it, was typed at the command line."""
    inside = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return isinstance(value, Word) or any(map(_typed, inside))


def _is_plain(value: Any) -> bool:
    """Return whether YAML can hold a value."""
    if type(value) in (list, tuple, dict):
        return all(map(_is_plain, value.values() if isinstance(value, dict) else value))
    return value is None or type(value) in (bool, int, float, str) or isinstance(value, Path)


def _is_subclass(kind: Any, base: type) -> bool:
    return inspect.isclass(kind) and issubclass(kind, base)


def _require(value: Any, fits: bool) -> Any:
    if not fits:
        raise Unfit
    return value
