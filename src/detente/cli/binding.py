"""Values of options: read as YAML, converted to the types of parameters, and built."""

from __future__ import annotations

import inspect
import json
import os
import re
import typing
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from inspect import Parameter
from pathlib import Path
from typing import Any

import yaml

from detente.cli.naming import alternatives, find, in_words, is_mapping, loaded, members_for, parameters, path_of
from detente.cli.terminal import one_line
from detente.errors import InvalidValue, unknown
from detente.registry.outlines import Outline

SCHEDULE = "detente.schedules.base.Schedule"
SCALARS = {bool: bool, int: int, float: (int, float, str), str: str, Path: str, type(None): ()}  # made of these
ANY = Parameter("any", Parameter.KEYWORD_ONLY, annotation=Any)
PLAIN = (bool, int, float, str, type(Path()), type(None), list, tuple, dict)  # what YAML can hold


class Word(str):
    """A value as it was typed at the command line.

    If it replaces a member from a file, the new member keeps those of the file's settings that it has, too.
    """

    __repr__ = str.__str__
    settings: Mapping[str, Any] = {}


class Unfit(Exception):
    """A value does not fit a type."""


class Loader(yaml.SafeLoader):
    """PyYAML's safe loader, which refuses a key that occurs twice in a mapping."""

    def construct_mapping(self, node: Any, deep: bool = False) -> dict:
        """Return the mapping, whose keys must differ."""
        for index, (key, _) in enumerate(node.value):
            if key.value in [other.value for other, _ in node.value[:index]]:
                raise yaml.MarkedYAMLError(problem=f"the key {key.value!r} occurs twice", problem_mark=key.start_mark)
        return super().construct_mapping(node, deep)


@dataclass(frozen=True)
class Member:
    """The class, function or object that an option names; it makes a `kind`, or is itself the value if it is a factory.

    `settings` are the arguments of the target, or None for an object, which is not called.
    """

    field: str
    path: str
    target: Any
    settings: dict[str, Any] | None
    kind: type | None = None

    def call(self) -> Any:
        """Return what the target makes; an error names the option."""
        settings, allowed = make(self.settings), "a class or function that can be called with these settings"
        try:
            result = self.target(**settings)
        except InvalidValue as error:
            raise self.translated(error) from error
        except Exception as error:  # a user's own classes may raise anything, and so may torch at impossible sizes
            raise InvalidValue(self.field, self.path, allowed, raised(error)) from error
        if self.kind and not isinstance(result, loaded(self.kind)):
            allowed = f"a class or function that makes a {self.kind.__name__}"
            raise InvalidValue(self.field, self.path, allowed, f"It returned {in_words(type(result))}")
        return result

    def translated(self, error: InvalidValue) -> InvalidValue:
        """Return an error of the target with options in place of the names of its parameters."""
        settings, field = self.settings or {}, error.field
        passed_on = [name for name, value in settings.items() if isinstance(value, str) and value == error.value]
        if re.split(r"[.\[]", field)[0] in settings:
            field = f"{self.field}.{field}"
        elif passed_on and "." not in field:  # the parameter of an inner part
            field = f"{self.field}.{passed_on[0]}"
        setting = re.compile(rf"\b({'|'.join(settings) or '$^'})=\"?(\w+)\"?")
        as_option = partial(setting.sub, lambda match: f"--{self.field}.{match[1]} {match[2].lower()}")
        return InvalidValue(field, error.value, as_option(error.allowed), as_option(error.hint))


def raised(error: Exception) -> str:
    """Return what a user's own code raised, in one line."""
    return f"{type(error).__name__}: {one_line(error)}"[:300]


def changed(change: Callable[[Any], Any], value: Any) -> Any:
    """Return a value with the items of a list or a mapping changed."""
    if isinstance(value, list | tuple):
        return type(value)(map(change, value))
    return {key: change(item) for key, item in value.items()} if isinstance(value, dict) else value


def make(value: Any) -> Any:
    """Return a bound value with every member built."""
    if isinstance(value, Member):
        return value.target if value.settings is None else value.call() if value.kind else value.call
    return changed(make, value)


def plain(value: Any) -> Any:
    """Return a bound value as YAML holds it."""
    if isinstance(value, Member):
        settings = {"init_args": plain(value.settings)} if value.settings else {}
        return value.path if value.settings is None else {"class_path": value.path, **settings}
    return str(value) if isinstance(value, Path) else changed(plain, [*value] if isinstance(value, tuple) else value)


def parts_of(value: Any) -> Iterator[Any]:
    """Yield a value, and everything in its lists, mappings and members."""
    yield value
    inside = value.settings if isinstance(value, Member) else value
    for part in inside.values() if isinstance(inside, dict) else inside if isinstance(inside, list | tuple) else ():
        yield from parts_of(part)


def has_own(value: Any) -> bool:
    """Return whether a user's own class, function or object is part of a bound value."""
    return any(isinstance(part, Member) and not isinstance(part.target, Outline) for part in parts_of(value))


def is_typed(value: Any) -> bool:
    """Return whether a value, or something in it, was typed at the command line."""
    return any(isinstance(part, Word) for part in parts_of(value))


def load(text: str) -> Any:
    """Return the content of YAML, which must not contain itself, as in `&a [*a]`."""
    content = yaml.load(text, Loader)
    json.dumps(content, skipkeys=True, default=str)
    return content


def read(value: Any) -> Any:
    """Return a text, also in mappings, as YAML reads it, or the text itself where YAML cannot."""
    if not isinstance(value, str):
        return changed(read, value) if is_typed(value) else value
    try:
        return None if value == "None" else load(value)
    except Exception:  # PyYAML raises more than its own errors
        return str(value)


def put(options: dict[str, Any], name: str, value: Any) -> None:
    """Set an option, or with `game.penalties.strength` a setting of its value, in nested mappings."""
    name, _, key = name.partition(".")
    node = options.get(name)
    node = node[0] if isinstance(node, list) and len(node) == 1 else node  # one member stands for a list of one
    described = _description(node)
    settings: Any = described.get("init_args") or {} if described else node
    if described and not isinstance(settings, dict):
        return  # `bind` says what is wrong with it
    if key:
        settings = {**settings} if isinstance(settings, dict) else {}
        put(settings, key, value)
        value = {**described, "init_args": settings} if described else settings
    elif described and isinstance(value, Word):
        value.settings = settings
    options[name] = value


def _description(value: Any) -> dict[str, Any] | None:
    """Return the name of a member, or a mapping with `class_path`, as such a mapping; None for anything else."""
    if isinstance(value, str):
        return {"class_path": value, "init_args": value.settings if isinstance(value, Word) else {}}
    return value if isinstance(value, dict) and "class_path" in value else None


def bind(field: str, annotation: Any, value: Any) -> Any:
    """Return an option's value converted to a type, with a `Member` for everything that is to be built.

    Raises:
        InvalidValue: it does not fit; or a member does not exist, lacks a setting, or does not have it.
    """
    with suppress(Unfit):
        return _convert(field, annotation, value)
    table, typed = members_for(annotation), is_typed(value)
    if typed and isinstance(value, dict):
        if table and "class_path" not in value:
            raise InvalidValue(field, None, ", ".join(table), f"Say which with --{field} NAME")
        option = next(iter(value.get("init_args") or value))
        raise InvalidValue("option", f"--{field}.{option}", f"--{field} with {in_words(annotation)}")
    error = unknown(field, str(value), table if isinstance(value, str) and value.isidentifier() else ())
    if error.allowed and float not in alternatives(annotation):
        raise error
    raise InvalidValue(field, str(value) if typed else value, in_words(annotation), error.hint)


def bind_all(field: str, known: Mapping[str, Parameter], values: Mapping[str, Any]) -> dict[str, Any]:
    """Return the converted values of an option's parameters, with their defaults.

    Args:
        field: the option; empty for the options of a command.
        known: its parameters.
        values: the values by name.
    """
    prefix, bound = f"{field}." if field else "", {}
    for name, value in values.items():
        if name not in known:
            option, dashes = ("option", f"--{prefix}") if is_typed(value) else (f"{prefix}{name}", "")
            error = unknown(option, f"{dashes}{name}", [f"{dashes}{key}" for key in known])
            raise error if known else InvalidValue(f"{prefix}{name}", value, "no settings")
    for name, parameter in known.items():
        if name in values:
            bound[name] = bind(f"{prefix}{name}", parameter.annotation, values[name])
        elif parameter.default is parameter.empty:
            raise InvalidValue(f"{prefix}{name}", None, in_words(parameter.annotation), "It is required")
        elif all(type(part) in PLAIN for part in parts_of(parameter.default)):
            bound[name] = parameter.default
    return bound


def _convert(field: str, annotation: Any, value: Any) -> Any:
    """Return a value converted to a type; raise `Unfit` if it cannot be."""
    kinds = alternatives(annotation)
    if isinstance(value, str) and "(" in value and SCHEDULE in map(path_of, kinds):  # cosine(1e-3, 0, 2000)
        value = {"class_path": "detente.schedules.parse", "init_args": {"text": str(value)}}
    content = read(value)
    if content is None and type(None) in kinds:
        return None
    for kind in kinds:
        for candidate in (content,) if kind is Any or content is value else (value, content):
            with suppress(Unfit):
                return _as(field, kind, candidate, kinds)
    raise Unfit


def _as(field: str, kind: Any, value: Any, kinds: tuple[Any, ...]) -> Any:
    """Return a value converted to one of the alternative types; raise `Unfit` if it cannot be."""
    origin, parts = typing.get_origin(kind) or kind, typing.get_args(kind) or (Any, Any)
    described = isinstance(value, dict) and "class_path" in value
    if origin in SCALARS:
        with suppress(ValueError, OverflowError):
            if isinstance(value, SCALARS[origin]) and isinstance(value, bool) == (kind is bool):
                return kind(value)
    elif origin is typing.Literal:
        value = ("off", "on")[value] if isinstance(value, bool) and "on" in parts else value
        if value in parts and not isinstance(value, bool):
            return parts[parts.index(value)]
    elif is_mapping(kind):
        if isinstance(value, dict) and not described:
            pairs = ((name, item, bind if is_typed(item) else _convert) for name, item in value.items())
            return {str(name): convert(f"{field}.{name}", parts[1], item) for name, item, convert in pairs}
    elif inspect.isclass(origin) and issubclass(origin, Sequence) or origin is Iterable:
        alone = value is not None and not isinstance(value, list | tuple) and members_for(kind)
        items = [value] if alone else value  # one member stands for a list of one
        fixed = origin is tuple and ... not in parts and kind is not tuple
        if isinstance(items, list | tuple) and (not fixed or len(parts) == len(items)):
            each = zip(parts if fixed else parts[:1] * len(items), items, strict=True)
            return (tuple if origin is tuple else list)(_convert(field, part, item) for part, item in each)
    elif described or inspect.isclass(origin) and origin not in (Any, object):
        factory = origin is Callable and parts[0] == []  # any other function is the value itself
        return _member(field, parts[1] if factory else origin, value, kinds, factory)
    else:
        return str(value) if isinstance(value, str) else value
    raise Unfit


def _member(field: str, kind: Any, value: Any, kinds: tuple[Any, ...], factory: bool) -> Member:
    """Return the member that a name, an import path or a mapping with `class_path` stands for."""
    description, bare, table = _description(value), isinstance(value, str), members_for(kind)
    if description is None:
        raise Unfit
    path, settings = description["class_path"], description.get("init_args") or {}
    if description.keys() - {"class_path", "init_args"} or not isinstance(path, str) or not isinstance(settings, dict):
        raise InvalidValue(field, value, "a name, or a mapping with class_path and init_args")
    text = bare and (str in kinds or object in kinds)  # it may be a file, or any other word
    named = path in table or "." in path and all(map(str.isidentifier, path.split(".")))
    if bare and not named or text and (str in kinds and path in table or os.path.exists(path)):
        raise Unfit
    try:
        target = find(field, path, table)
    except InvalidValue as error:
        if text and isinstance(error.__cause__, ModuleNotFoundError | AttributeError):
            raise Unfit from None
        raise
    import_path = target.path if path in table else str(path)
    outlined = isinstance(target, Outline)  # a member of the kind; what was imported is compared with it
    kind = kind if outlined else loaded(kind)
    role = kind if inspect.isclass(kind) and kind is not Any and object not in kinds else object
    is_object = role is not object and isinstance(target, role)
    is_other = inspect.isclass(target) and not (outlined or is_object or issubclass(target, role))
    if is_other or is_object and factory:
        raise Unfit
    if callable(target) and not is_object:
        known, others = parameters(target)
        if others:
            known = {**dict.fromkeys(settings, ANY), **known}
        elif isinstance(path, Word):  # of a file's settings for another member, those that it has, too
            settings = {name: item for name, item in settings.items() if name in known or is_typed(item)}
        return Member(field, import_path, target, bind_all(field, known, settings), None if factory else role)
    if is_object or object in kinds:
        return Member(field, import_path, target, bind_all(field, {}, settings) or None)
    problem = "a module" if inspect.ismodule(target) else f"{type(target).__name__}, which cannot be called"
    raise InvalidValue(field, str(path), "MODULE.NAME of a class or function that can be imported", f"It is {problem}")
