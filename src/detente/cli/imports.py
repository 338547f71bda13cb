"""What lies at an import path that a user typed, and how jsonargparse is made to take any factory."""

from __future__ import annotations

import importlib
import importlib.util
import inspect
import sys
import types
import typing
from collections.abc import Callable, Iterable
from typing import Any

import jsonargparse

from detente.errors import InvalidValue

STAND_INS = types.ModuleType("detente_factories")  # classes that stand for factories while words are parsed
sys.modules[STAND_INS.__name__] = STAND_INS
_typed: dict[str, str] = {}  # by the import path that jsonargparse records, the one that the user typed


def imported(path: str, field: str, called: bool = True) -> Any:
    """Return what lies at an import path, also inside a class; a user's own modules lie where the user stands.

    Args:
        path: as the user typed it.
        field: the option, for the message.
        called: whether it must be something that can be called.

    Raises:
        InvalidValue: nothing that can be called is there.
    """
    allowed = "MODULE.NAME of a class or function that can be imported"
    try:
        found = _at(path)
    except Exception as error:  # a user's own module may raise anything
        raise InvalidValue(field, path, allowed, " ".join(str(error).split()) or type(error).__name__) from error
    if called and not callable(found):
        raise InvalidValue(field, path, allowed, f"It is {_kind(found)}")
    _remember(path, found)
    return found


def is_importable(path: str) -> bool:
    """Return whether a word is the import path of something, rather than a file or any other word with a dot."""
    if not all(part.isidentifier() for part in path.split(".")) or "." not in path:
        return False
    try:
        _at(path)
    except (ImportError, AttributeError) as error:
        return isinstance(error, ImportError) and not isinstance(error, ModuleNotFoundError)
    except Exception:  # the module is there, and raises: `imported` tells how
        return True
    return True


def for_parser(path: str, role: type | None, keys: Iterable[str] = ()) -> str:
    """Return the import path by which jsonargparse takes what lies at `path`.

    A class stays what it is. A function, a lambda, a partial or an object is stood for by a class of the role, which
    has the same parameters, each without a type taking any value; building one calls the factory.

    Args:
        path: as the user typed it, importable.
        role: the class of what is to be made; None leaves the path as it is.
        keys: settings that the user gives, for a factory with `**kwargs`.
    """
    found = _at(path)
    known = role is None or (inspect.isclass(found) and not _hidden(found, keys))
    if known or role is None or isinstance(found, role) or _is_ours(found):
        return path
    keys = sorted(set(keys))
    name = "__".join([path.replace(".", "__"), role.__name__, *keys])
    parameters = _parameters(found, keys) if callable(found) else []

    def build(cls: type, *args: Any, **settings: Any) -> Any:
        del cls
        return found(*args, **settings) if callable(found) else found

    def initialise(self: Any, **settings: Any) -> None:
        del self, settings

    own = inspect.Parameter("self", inspect.Parameter.POSITIONAL_OR_KEYWORD)
    initialise.__signature__ = inspect.Signature([own, *parameters])  # type: ignore[attr-defined]
    build.__signature__ = initialise.__signature__  # type: ignore[attr-defined]
    build.__annotations__ = initialise.__annotations__ = {one.name: one.annotation for one in parameters}
    made = type(name, (role,), {"__new__": build, "__init__": initialise, "__module__": STAND_INS.__name__})
    made.__abstractmethods__ = frozenset()  # type: ignore[attr-defined]
    made.__doc__ = inspect.getdoc(found)
    setattr(STAND_INS, name, made)
    stand_in = f"{STAND_INS.__name__}.{name}"
    _typed[stand_in] = path
    return stand_in


def as_typed(content: Any) -> Any:
    """Return nested mappings, or a text, with every import path as the user typed it."""
    if isinstance(content, dict):
        return {key: as_typed(value) for key, value in content.items()}
    if isinstance(content, list | tuple):
        return type(content)(as_typed(value) for value in content)
    if not isinstance(content, str):
        return content
    if content in _typed:
        return _typed[content]
    if STAND_INS.__name__ in content:
        for recorded, typed in _typed.items():
            content = content.replace(recorded, typed)
    return content


def hints(called: Callable[..., Any]) -> dict[str, Any]:
    """Return the types of all parameters of a class or function; nothing where they cannot be told."""
    try:
        parameters = inspect.signature(called).parameters
    except (TypeError, ValueError):
        return {}
    if any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters.values()):
        return {}
    given = _annotations(called)
    return {name: given.get(name, Any) for name, one in parameters.items() if one.kind is not one.VAR_POSITIONAL}


def untyped(called: Callable[..., Any]) -> list[str]:
    """Return the parameters that have neither a type nor a default."""
    try:
        parameters = inspect.signature(called).parameters.values()
    except (TypeError, ValueError):
        return []
    empty, named = inspect.Parameter.empty, (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
    return [one.name for one in parameters if one.kind in named and one.annotation is empty and one.default is empty]


def _at(path: str) -> Any:
    """Return what lies at an import path: the longest part that is a module, and attributes from there on."""
    if "" not in sys.path:
        sys.path.insert(0, "")
    module, _, name = path.rpartition(".")
    try:
        parent = importlib.import_module(module)
    except ModuleNotFoundError as error:
        outer = module.rpartition(".")[0]
        if not outer or error.name is None or not (module == error.name or module.startswith(f"{error.name}.")):
            raise
        try:
            parent = _at(module)
        except (AttributeError, ModuleNotFoundError):
            raise error from None
    return getattr(parent, name)


def _remember(path: str, found: Any) -> None:
    """Keep what was typed for what jsonargparse records instead: where a class was defined, in any shorter form."""
    name, module = getattr(found, "__qualname__", ""), getattr(found, "__module__", None) or ""
    if not inspect.isclass(found) or _is_ours(found):
        return
    parts = module.split(".")
    for defined in [f"{'.'.join(parts[:count])}.{name}" for count in range(1, len(parts) + 1)]:
        _typed[defined] = path


def _parameters(found: Callable[..., Any], keys: list[str]) -> list[inspect.Parameter]:
    try:
        parameters = inspect.signature(found).parameters.values()
    except (TypeError, ValueError):  # written in C
        parameters = [inspect.Parameter("kwargs", inspect.Parameter.VAR_KEYWORD)]
    given = _annotations(found)
    kind = inspect.Parameter.KEYWORD_ONLY
    named = [one for one in parameters if one.kind in (one.POSITIONAL_OR_KEYWORD, one.KEYWORD_ONLY)]
    made = [one.replace(kind=kind, annotation=given.get(one.name, Any)) for one in named]
    if any(one.kind is one.VAR_KEYWORD for one in parameters):
        known = {one.name for one in made}
        made += [inspect.Parameter(key, kind, annotation=Any) for key in keys if key not in known]
    return made


def _annotations(called: Any) -> dict[str, Any]:
    while hasattr(called, "func"):  # functools.partial
        called = called.func
    try:
        return typing.get_type_hints(called.__init__ if inspect.isclass(called) else called)
    except Exception:  # a user's own annotations may name anything
        return {}


def _is_ours(found: Any) -> bool:
    return (getattr(found, "__module__", None) or "").partition(".")[0] == "detente"


def _hidden(called: type, keys: Iterable[str]) -> bool:
    """Return whether a class takes settings by `**kwargs` alone, such that jsonargparse does not find them."""
    parameters = inspect.signature(called).parameters.values()
    if not any(one.kind is one.VAR_KEYWORD for one in parameters):
        return False
    parser = jsonargparse.ArgumentParser()
    accepted = {name.rpartition(".")[2] for name in parser.add_class_arguments(called, "one", fail_untyped=False)}
    return not accepted.issuperset(key.rstrip("+") for key in keys)


def _kind(found: Any) -> str:
    return "a module" if inspect.ismodule(found) else f"{type(found).__name__}, which cannot be called"
