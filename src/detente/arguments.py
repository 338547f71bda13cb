"""Types of arguments: what a user passes is compared with its annotation, before anything looks at its value."""

from __future__ import annotations

import functools
import inspect
import sys
import types
import typing
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import fields
from numbers import Integral, Real
from typing import Any, ClassVar

from detente.errors import InvalidValue

WORDS = {int: "an integer", float: "a number", bool: "True or False", str: "a text", type(None): "None"}


class Unchecked:
    """Base class of values that fit every type, since theirs is not known yet."""


class Typed:
    """Base class of dataclasses whose arguments must fit their annotations; whole numbers such as 1e4 become integers.

    Attributes:
        any_type: names of arguments that the class itself converts.

    Raises:
        InvalidValue: an argument is of another type.
    """

    any_type: ClassVar[tuple[str, ...]] = ()

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if check := vars(cls).get("__post_init__"):

            @functools.wraps(check)
            def __post_init__(self: Any, *arguments: Any) -> None:
                _check_fields(self)
                check(self, *arguments)

            cls.__post_init__ = __post_init__

    def __post_init__(self, *_: Any) -> None:
        _check_fields(self)


def _check_fields(owner: Any) -> None:
    """Compare the fields of a dataclass with their annotations."""
    for kind in type(owner).__mro__:
        if not kind.__module__.startswith("detente.") or "__annotations__" not in vars(kind):
            continue  # annotations of a user's own classes are comments
        known = _resolved(kind, vars(sys.modules[kind.__module__]))
        for field in fields(owner):
            if field.name in known and field.init and field.name not in owner.any_type:
                value = getattr(owner, field.name)
                fit = fitting(field.name, known[field.name], value)
                if fit is not value:
                    object.__setattr__(owner, field.name, fit)


_RESOLVED: dict[Any, dict[str, Any]] = {}


def _resolved(owner: Any, names: Mapping[str, Any]) -> dict[str, Any]:
    """Return the annotations of a class or function that can be evaluated where it is defined."""
    if owner not in _RESOLVED:
        known = {}
        for name, annotation in vars(owner).get("__annotations__", owner.__annotations__).items():
            try:
                known[name] = eval(annotation, dict(names)) if isinstance(annotation, str) else annotation
            except Exception:  # names that only type checkers import
                continue
        _RESOLVED[owner] = known
    return _RESOLVED[owner]


def fitting(field: str, kind: Any, value: Any) -> Any:
    """Return an argument that fits a type, unchanged but for whole numbers such as 1e4, which become integers.

    Raises:
        InvalidValue: it does not fit.
    """
    kinds = _alternatives(kind)
    if issubclass(type(value), Unchecked):
        return value
    if int in kinds and float not in kinds and isinstance(value, float) and value.is_integer():
        return int(value)
    if not any(_fits(each, value) for each in kinds):
        is_class = inspect.isclass(value) and any(inspect.isclass(each) and issubclass(value, each) for each in kinds)
        hint = f"This is the class; make an object: {getattr(value, '__name__', '')}(…)" if is_class else ""
        raise InvalidValue(field, value, " or ".join(dict.fromkeys(map(_in_words, kinds))), hint)
    return value


def _alternatives(kind: Any) -> tuple[Any, ...]:
    return typing.get_args(kind) if typing.get_origin(kind) in (typing.Union, types.UnionType) else (kind,)


def _fits(kind: Any, value: Any) -> bool:
    """Return whether a value is of a type; True where the type says nothing that can be tested."""
    origin, parts = typing.get_origin(kind) or kind, typing.get_args(kind)
    if issubclass(type(value), Unchecked):
        return True
    if kind is None or kind is type(None):
        return value is None
    if kind is float:
        return isinstance(value, Real) and not isinstance(value, bool) or getattr(value, "ndim", None) == 0
    if kind is int:
        return isinstance(value, Integral) and not isinstance(value, bool) or getattr(value, "ndim", None) == 0
    if kind is str:  # also objects that stand for a text, such as paths and devices
        return isinstance(value, str) or not (value is None or callable(value) or isinstance(value, Real | Collection))
    if origin is Callable:
        return callable(value)
    if not inspect.isclass(origin) or origin in (object, type, Any) or getattr(origin, "_is_protocol", False):
        return True
    if issubclass(origin, Mapping):
        values = getattr(value, "values", None) if hasattr(value, "keys") and not inspect.isclass(value) else None
        return values is not None and (len(parts) < 2 or all(_fits_any(parts[1], item) for item in values()))
    if issubclass(origin, Collection) and origin is not str and issubclass(origin, Sequence | tuple):
        listed = isinstance(value, Collection) and not isinstance(value, str | bytes | Mapping)
        if not listed or getattr(value, "ndim", 1) != 1:  # NumPy's and torch's vectors are lists, too
            return False
        fixed = origin is tuple and parts and ... not in parts
        each = parts if fixed else parts[:1] * len(value)
        return (not fixed or len(parts) == len(value)) and all(map(_fits_any, each, value))
    return isinstance(value, origin)


def _fits_any(kind: Any, value: Any) -> bool:
    return any(_fits(each, value) for each in _alternatives(kind))


def _in_words(kind: Any) -> str:
    """Return a type in words."""
    origin, parts = typing.get_origin(kind) or kind, typing.get_args(kind)
    if kind in WORDS:
        return WORDS[kind]
    if origin is Callable:
        return "a function"
    if not inspect.isclass(origin):
        return str(kind)
    if issubclass(origin, Mapping):
        return f"a dictionary{_each(parts[1:])}"
    if origin in (tuple, list, Sequence):
        return f"a sequence{_each(parts[:1])}"
    package, _, file = origin.__module__.rpartition(".")
    if package == "detente.schedules":
        return "a schedule"
    role = file == "base" and package.startswith("detente.")
    return f"a member of {package}" if role else f"an object of class {origin.__name__}"


def _each(parts: tuple[Any, ...]) -> str:
    """Return in words of what type the items are."""
    kinds = [kind for part in parts for kind in _alternatives(part) if kind is not Any]
    return f", each item {' or '.join(dict.fromkeys(map(_in_words, kinds)))}" if kinds else ""
