"""What a name at the command line or in a YAML file means: games, methods, and the members that they are made of."""

from __future__ import annotations

import inspect
import types
import typing
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from detente import methods, schedule
from detente.cli.imports import for_parser, hints, imported, is_importable
from detente.deprecated import current
from detente.errors import unknown
from detente.games import presets
from detente.methods.method import Method
from detente.registry import FOLDERS, members, name_of

Called = dict[str, Callable[..., Any]]  # by option, e.g. game.objective: what its value calls


def games() -> dict[str, Callable[..., Any]]:
    """Return every game that can be asked for by name: the standard ones, and the members of `detente.games`."""
    return dict(sorted({**members("games"), **presets.names()}.items()))


def named_methods() -> dict[str, Callable[..., Any]]:
    """Return every method that can be asked for by name: the table of papers, and `method` for your own triple."""
    return {**methods.names(), "method": Method}


def resolve(field: str, name: str, table: Mapping[str, Callable[..., Any]]) -> str:
    """Return the import path behind a name; an import path stays what it is.

    Raises:
        InvalidValue: no such name, or nothing that can be imported.
    """
    if name in table:
        return f"{table[name].__module__}.{table[name].__qualname__}"
    name = current(name)
    if "." not in name.strip("."):
        raise unknown(field, name, table)
    imported(name, field)
    return name


def role_of(annotation: Any) -> type | None:
    """Return the class that a parameter takes an instance or a factory of, e.g. `nn.Module`; None: no class."""
    for kind in _classes_in(annotation):
        if inspect.isclass(kind) and kind.__module__ not in ("builtins", "pathlib", "typing", "collections.abc"):
            return kind
    return None


def switched(annotation: Any, value: Any) -> Any:
    """Return a value as a switch takes it: YAML reads an unquoted on, off, yes or no as a truth value."""
    words = {"on": True, "yes": True, "true": True, "off": False, "no": False, "false": False}
    kinds = _alternatives(annotation)
    state = words.get(value.lower()) if isinstance(value, str) else value
    if not isinstance(state, bool):
        return value
    named = any(
        typing.get_origin(kind) is typing.Literal and {"on", "off"} <= {*typing.get_args(kind)} for kind in kinds
    )
    if named:
        return "on" if state else "off"
    return state if bool in kinds and str not in kinds else value


def members_for(annotation: Any) -> dict[str, Callable[..., Any]]:
    """Return by name the members that fit a parameter's type, e.g. every penalty for `Sequence[Penalty]`."""
    found: dict[str, Callable[..., Any]] = {}
    for role in _classes_in(annotation):
        found |= _members_of(role)
    return found


def resolved_value(field: str, annotation: Any, value: Any, called: Called, keys: Sequence[str] = ()) -> Any:
    """Return a value with the names of members replaced by their import paths, and their settings looked at.

    Args:
        field: the option, e.g. `game.penalties`.
        annotation: the parameter's type.
        value: as YAML reads it.
        called: gets an entry for the option where the value calls something.
        keys: the member's own settings that follow as further options.

    Raises:
        InvalidValue: no such member, or a setting that it does not have.
    """
    table, nested, role = members_for(annotation), bool(keys), role_of(annotation)
    kinds, value = _alternatives(annotation), switched(annotation, value)
    if isinstance(value, list):
        items = [resolved_value(field, annotation, item, {}) for item in value] if table else value
        return [item[0] if isinstance(item, list) and len(item) == 1 and table else item for item in items]
    if isinstance(value, str) and table:
        free = (str in kinds and not nested) or object in kinds and (value not in table or Path(value).exists())
        if value in table and not free:
            called[field] = table[value]
            path = {"class_path": resolve(field, value, table)}
            return [path] if _only_lists(annotation) else path
        if not free and value.isidentifier() and float not in kinds:
            raise unknown(field, value, table)
        path = value.split(".")
        if len(path) == 1 or not all(part.isidentifier() for part in path) or free and not _is_code(value):
            return value
        member = imported(value, field, called=object not in kinds)
        if callable(member):
            called[field] = member
        made = for_parser(value, role, keys)
        return value if made == value else {"class_path": made}
    if isinstance(value, dict) and isinstance(value.get("class_path"), str):
        chosen = table if table else {}
        path = resolve(field, value["class_path"], chosen)
        called[field] = imported(path, field)
        settings = checked_settings(field, called[field], value.get("init_args"), called)
        if role is not None:
            path = for_parser(path, role, settings if isinstance(settings, dict) else ())
        return {**value, "class_path": path, **({"init_args": settings} if settings is not None else {})}
    if isinstance(value, dict) and table:  # one for each player
        return {key: resolved_value(f"{field}.{key}", annotation, item, called) for key, item in value.items()}
    return value


def checked_settings(field: str, member: Callable[..., Any], settings: Any, called: Called) -> Any:
    """Return the settings of a member with names resolved.

    Raises:
        InvalidValue: it has no such setting.
    """
    if not isinstance(settings, dict):
        return settings
    known = hints(member)
    for key in settings:
        if known and key not in known:
            raise unknown(f"{field}.{key}", key, known)
    return {key: resolved_value(f"{field}.{key}", known.get(key, Any), v, called) for key, v in settings.items()}


def read(text: str) -> Any:
    """Return a word of the command line as YAML reads it, or the word itself where YAML cannot."""
    try:
        return yaml.safe_load(text)
    except Exception:
        return text


def _is_code(word: str) -> bool:
    return not Path(word).exists() and is_importable(word)


def _members_of(role: Any) -> dict[str, Callable[..., Any]]:
    if role is schedule.Schedule:
        return {name_of(kind): kind for kind in role.__subclasses__()}
    folders = [folder for folder, path in FOLDERS.items() if inspect.isclass(role) and path == _path(role)]
    return dict(members(folders[0])) if folders else {}


def _path(role: type) -> str:
    return "torch.nn.Module" if role.__name__ == "Module" else f"{role.__module__}.{role.__qualname__}"


def _classes_in(annotation: Any) -> list[Any]:
    inside = typing.get_args(annotation) if typing.get_origin(annotation) is not typing.Literal else ()
    if not inside:
        return [] if isinstance(annotation, list) and not annotation else [annotation]
    return [found for part in inside for found in _classes_in(part)]


def _alternatives(annotation: Any) -> tuple[Any, ...]:
    united = typing.get_origin(annotation) in (typing.Union, types.UnionType)
    return typing.get_args(annotation) if united else (annotation,)


def _only_lists(annotation: Any) -> bool:
    """Whether a parameter takes several members and never one alone."""
    origin = typing.get_origin(annotation)
    return inspect.isclass(origin) and issubclass(origin, typing.Sequence)  # type: ignore[arg-type]
