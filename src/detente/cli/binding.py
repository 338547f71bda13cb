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
from inspect import Parameter
from pathlib import Path
from typing import Any

import yaml

from detente.cli.naming import alternatives, find, in_words, loaded, members_for, parameters, path_of
from detente.cli.terminal import one_line
from detente.errors import InvalidValue, unknown
from detente.registry.outlines import Outline

SCHEDULE = "detente.schedules.base.Schedule"


class Word(str):
    """A value as it was typed at the command line."""

    __repr__ = str.__str__


class Unfit(Exception):
    """A value does not fit a type."""


class Loader(yaml.SafeLoader):
    """PyYAML's safe loader, which refuses a key that occurs twice in a mapping."""

    def construct_mapping(self, node: Any, deep: bool = False) -> dict:
        """Return the mapping, whose keys must differ."""
        for index, (key, _) in enumerate(node.value):
            if key.value in [other.value for other, _ in node.value[:index]]:
                problem = f"the key {key.value!r} occurs twice"
                raise yaml.constructor.ConstructorError(None, None, problem, key.start_mark)
        return super().construct_mapping(node, deep)


@dataclass(frozen=True)
class Member:
    """What the name or import path of an option stands for; it makes a `kind`, or as a factory is itself the value.

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
            problem = f"{type(error).__name__}: {one_line(error)}"[:300]
            raise InvalidValue(self.field, self.path, allowed, problem) from error
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
        names = "|".join(settings) or "$^"
        allowed, hint = (
            re.sub(rf"\b({names})=\"?(\w+)\"?", lambda match: f"--{self.field}.{match[1]} {match[2].lower()}", text)
            for text in (error.allowed, error.hint)
        )
        return InvalidValue(field, error.value, allowed, hint)


def make(value: Any) -> Any:
    """Return a bound value with every member built."""
    if isinstance(value, Member):
        return value.target if value.settings is None else value.call() if value.kind else value.call
    if isinstance(value, list | tuple):
        return type(value)(map(make, value))
    return {key: make(item) for key, item in value.items()} if isinstance(value, dict) else value


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


def plain(value: Any) -> Any:
    """Return a bound value as YAML holds it."""
    if isinstance(value, Member):
        settings = {"init_args": plain(value.settings)} if value.settings else {}
        return value.path if value.settings is None else {"class_path": value.path, **settings}
    if isinstance(value, list | tuple):
        return [*map(plain, value)]
    if isinstance(value, dict):
        return {str(key): plain(item) for key, item in value.items()}
    return str(value) if isinstance(value, Path) else value


def load(text: str) -> Any:
    """Return the content of YAML, which must not contain itself, as in `&a [*a]`."""
    content = yaml.load(text, Loader)
    json.dumps(content, skipkeys=True, default=str)
    return content


def read(text: str) -> Any:
    """Return a word of the command line as YAML reads it, or the word itself where YAML cannot."""
    try:
        return None if text == "None" else load(text)
    except Exception:  # PyYAML raises more than its own errors
        return str(text)


def bind(field: str, annotation: Any, value: Any) -> Any:
    """Return an option's value converted to a type, with a `Member` for everything that is to be built.

    Raises:
        InvalidValue: it does not fit; or a member does not exist, lacks a setting, or does not have it.
    """
    with suppress(Unfit):
        return _convert(field, annotation, value)
    if isinstance(value, dict) and is_typed(value.get("init_args")):
        option = f"--{field}.{next(iter(value['init_args']))}"
        raise InvalidValue("option", option, f"--{field} with {in_words(annotation)}")
    table = members_for(annotation) if isinstance(value, str) and value.isidentifier() else {}
    error = unknown(field, str(value), table)
    if table and float not in alternatives(annotation):
        raise error
    raise InvalidValue(field, str(value) if is_typed(value) else value, in_words(annotation), error.hint)


def bind_all(
    field: str, known: Mapping[str, Parameter], values: Mapping[str, Any], others: bool = False, replaced: bool = False
) -> dict[str, Any]:
    """Return the converted values of an option's parameters, with their defaults.

    Args:
        field: the option; empty for the options of a command.
        known: its parameters.
        values: the values by name.
        others: any other name is a parameter, too.
        replaced: a word replaced a file's member; of the file's values, those that do not fit are left out.
    """
    prefix, bound = f"{field}." if field else "", {}
    for name in [name for name in values if name not in known]:
        value, typed = values[name], is_typed(values[name])
        if others:
            bound[name] = bind(f"{prefix}{name}", Any, value)
        elif not known:
            raise InvalidValue(f"{prefix}{name}", value, "no settings")
        elif typed or not replaced:
            option, dashes = ("option", f"--{prefix}") if typed else (f"{prefix}{name}", "")
            raise unknown(option, f"{dashes}{name}", [f"{dashes}{key}" for key in known])
    for name, parameter in known.items():
        if name in values:
            bound[name] = bind(f"{prefix}{name}", parameter.annotation, values[name])
        elif parameter.default is parameter.empty:
            raise InvalidValue(f"{prefix}{name}", None, in_words(parameter.annotation), "It is required")
        elif _is_plain(parameter.default):
            bound[name] = parameter.default
    return bound


def _is_plain(value: Any) -> bool:
    """Return whether YAML can hold a value."""
    if type(value) in (list, tuple, dict):
        return all(map(_is_plain, value.values() if isinstance(value, dict) else value))
    return isinstance(value, bool | int | float | str | Path | None)


def _convert(field: str, annotation: Any, value: Any) -> Any:
    kinds = alternatives(annotation)
    if str in kinds and isinstance(value, dict) and isinstance(value.get("class_path"), Word):
        value = value if is_typed(value.get("init_args")) else value["class_path"]
    if isinstance(value, dict) and value.get("class_path", "") is None and any(map(_is_mapping, kinds)):
        value = value.get("init_args")  # --method.learning_rate.judge 4e-4
    if isinstance(value, str) and "(" in value and SCHEDULE in map(path_of, kinds):  # cosine(1e-3, 0, 2000)
        value = {"class_path": "detente.schedules.parse", "init_args": {"text": str(value)}}
    content = read(value) if isinstance(value, str) else value
    if content is None and type(None) in kinds:
        return None
    for kind in kinds:
        for candidate in (value, content) if isinstance(value, str) and kind is not Any else (content,):
            with suppress(Unfit):
                return _as(field, kind, candidate, kinds)
    raise Unfit


def _is_mapping(kind: Any) -> bool:
    origin = typing.get_origin(kind) or kind
    return inspect.isclass(origin) and issubclass(origin, Mapping)


def _as(field: str, kind: Any, value: Any, kinds: tuple[Any, ...]) -> Any:
    """Return a value converted to one of the alternative types; raise `Unfit` if it cannot be."""
    origin, parts = typing.get_origin(kind) or kind, typing.get_args(kind) or (Any, Any)
    described, items = isinstance(value, dict) and "class_path" in value, value
    if kind in (Any, object) and not described:
        return str(value) if isinstance(value, str) else value
    if origin is typing.Literal:
        value = ("off", "on")[value] if isinstance(value, bool) and "on" in parts else value
        if value in parts and not isinstance(value, bool):
            return parts[parts.index(value)]
    elif kind is float and not isinstance(value, bool):  # 1e-3 is a string in YAML
        with suppress(TypeError, ValueError, OverflowError):
            return float(value)  # type: ignore[arg-type]
    elif kind in (str, Path) and isinstance(value, str) or type(value) is kind:
        return Path(str(value)) if kind is Path else str(value) if kind is str else value
    elif kind in (bool, int, float, str, Path, type(None)):
        pass
    elif origin is Callable and parts[0] != []:  # a function with arguments is the value itself
        if isinstance(value, str) and "." in value:
            return Member(field, str(value), find(field, str(value), {}), None)
    elif origin is Callable:
        return _member(field, parts[1], value, kinds, factory=True)
    elif _is_mapping(kind):
        if isinstance(value, dict) and not described:
            return {str(key): _convert(f"{field}.{key}", parts[1], item) for key, item in value.items()}
    elif inspect.isclass(origin) and issubclass(origin, Sequence) or origin is Iterable:
        if value is not None and not isinstance(value, list | tuple) and members_for(kind):
            items = [value]  # one member stands for a list of one
        fixed = origin is tuple and ... not in parts and kind is not tuple
        if isinstance(items, list | tuple) and (not fixed or len(parts) == len(items)):
            each = zip(parts if fixed else parts[:1] * len(items), items, strict=True)
            return (tuple if origin is tuple else list)(_convert(field, part, item) for part, item in each)
    else:
        return _member(field, kind, value, kinds) if inspect.isclass(kind) or described else value
    raise Unfit


def _member(field: str, kind: Any, value: Any, kinds: tuple[Any, ...], factory: bool = False) -> Member:
    """Return the member that a name, an import path or a mapping with `class_path` stands for."""
    bare, table = isinstance(value, str), members_for(kind)
    described = {"class_path": value} if bare else value
    if not isinstance(described, dict) or "class_path" not in described:
        raise Unfit
    path, settings = described["class_path"], described.get("init_args") or {}
    if path is None and settings:
        raise InvalidValue(field, None, in_words(kind), f"Say which with --{field} NAME")
    if described.keys() - {"class_path", "init_args"} or not isinstance(path, str) or not isinstance(settings, dict):
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
    import_path = f"{target.__module__}.{target.__qualname__}" if path in table else str(path)
    outlined = isinstance(target, Outline)  # a member of the kind; what was imported is compared with it
    kind = kind if outlined else loaded(kind)
    role = kind if inspect.isclass(kind) and kind is not Any and object not in kinds else object
    is_object = inspect.isclass(kind) and kind not in (object, Any) and isinstance(target, kind)  # type: ignore[arg-type]
    if not outlined and inspect.isclass(target) and not issubclass(target, role) or is_object and factory:
        raise Unfit
    if callable(target) and not is_object:
        known, others = parameters(target)
        bound = bind_all(field, known, settings, others, replaced=isinstance(path, Word))
        return Member(field, import_path, target, bound, None if factory else role)
    if is_object or object in kinds:
        return Member(field, import_path, target, bind_all(field, {}, settings) or None)
    problem = "a module" if inspect.ismodule(target) else f"{type(target).__name__}, which cannot be called"
    raise InvalidValue(field, str(path), "MODULE.NAME of a class or function that can be imported", f"It is {problem}")
