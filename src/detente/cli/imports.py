"""Import of what a user names by its path, and the parameters of classes and functions."""

from __future__ import annotations

import dataclasses
import importlib
import inspect
import pkgutil
import sys
import typing
from collections.abc import Callable
from inspect import Parameter
from typing import Any

from detente.deprecated import current
from detente.errors import InvalidValue

BY_NAME = (Parameter.POSITIONAL_OR_KEYWORD, Parameter.KEYWORD_ONLY)


def imported(path: str, field: str) -> Any:
    """Return what an import path names, also inside a class; a user's modules are in the current directory.

    Raises:
        InvalidValue: it cannot be imported; the message names `field`, the option.
    """
    try:
        return _located(current(path))
    except Exception as error:  # a user's own module may raise anything
        allowed = "MODULE.NAME of a class or function that can be imported"
        raise InvalidValue(field, str(path), allowed, reason(error)) from error


def parameters(called: Callable[..., Any]) -> tuple[dict[str, Parameter], bool]:
    """Return the keyword parameters of a callable, with their types, and whether it accepts any other keyword."""
    try:
        signature = inspect.signature(called).parameters.values()
    except (TypeError, ValueError):  # written in C
        return {}, True
    hints = _type_hints(called)
    fields = dataclasses.fields(called) if dataclasses.is_dataclass(called) else ()
    factories = {field.name: field.default_factory for field in fields if callable(field.default_factory)}
    known = {}
    for parameter in signature:
        if parameter.kind in BY_NAME:
            hint = hints.get(parameter.name, Any)
            hint = hint.type if isinstance(hint, dataclasses.InitVar) else hint
            default = factories[parameter.name]() if parameter.name in factories else parameter.default
            known[parameter.name] = parameter.replace(annotation=hint, default=default)
    return known, any(parameter.kind is parameter.VAR_KEYWORD for parameter in signature)


def hints(called: Callable[..., Any]) -> dict[str, Any]:
    """Return the types of the parameters of a class or function, `Any` where none is stated."""
    return {name: parameter.annotation for name, parameter in parameters(called)[0].items()}


def reason(error: BaseException) -> str:
    """Return an error's message in one line."""
    return " ".join(str(error).split()) or type(error).__name__


def _located(path: str) -> Any:
    if "" not in sys.path:
        sys.path.insert(0, "")
    try:
        return pkgutil.resolve_name(path)
    except AttributeError:  # perhaps since a module inside a package cannot be imported
        try:
            importlib.import_module(path.rpartition(".")[0])
        except ModuleNotFoundError as error:
            if not (error.name and path.startswith(error.name)):
                raise
        raise


def _type_hints(called: Any) -> dict[str, Any]:
    while hasattr(called, "func"):  # functools.partial
        called = called.func
    own = called if not inspect.isclass(called) or dataclasses.is_dataclass(called) else called.__init__
    try:
        return typing.get_type_hints(own)
    except Exception:  # a user's own annotations may name anything
        return {}
