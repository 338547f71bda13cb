"""A change as the exact Python lines and the exact options of the command line."""

from __future__ import annotations

import ast
from collections.abc import Mapping, Sequence
from dataclasses import fields, is_dataclass
from typing import Any

import yaml

from detente.cures.base import Change
from detente.errors import require
from detente.registry import name_of
from detente.schedules.base import Schedule

METHOD = "alternating"  # the method of a command line without `--method`


def python_lines(change: Change, game: str = "game") -> str:
    """Return Python lines, imports included, that set the variables `game` and, if it changes, `method`.

    Args:
        change: the change.
        game: an expression for the user's game.
    """
    imports: set[tuple[str, str]] = set()
    lines: list[str] = []
    if change.game:
        imports.add(("detente.games.presets", "changed"))
        lines.append(f"game = changed({', '.join([game, *_arguments(change.game, imports)])})")
    if change.method:
        imports.add(("detente", "methods"))
        lines.append(f"method = methods.{change.method}({', '.join(_arguments(change.settings, imports))})")
    modules = sorted({module for module, _ in imports})
    header = [f"from {m} import {', '.join(sorted(name for module, name in imports if module == m))}" for m in modules]
    return "\n".join([*header, *([""] if header else []), *lines]) + "\n" if lines else ""


def command_words(change: Change) -> list[str]:
    """Return the options of a change: of the game `changed` under `--game`, and of a method.

    The user's own game is then `--game.game`; `changed_words` puts them together.
    """
    words: list[str] = []
    for name, value in change.game.items():
        words += _words(f"--game.{name}", value)
    if change.method:
        words += ["--method", change.method]
        for name, value in change.settings.items():
            words += _words(f"--method.{name}", value)
    return words


def changed_words(words: Sequence[str], change: Change) -> list[str]:
    """Return the words of a command line, such as of `detente train`, with a change.

    Args:
        words: the options, as typed, `--game` among them.
        change: the change.

    Raises:
        InvalidValue: there is no `--game` among the words.
    """
    split = [
        part for word in words for part in (word.split("=", 1) if word.startswith("--") and "=" in word else [word])
    ]
    require("--game" in split, "words", list(words), "options with --game")
    remaining: list[str] = []
    skipping = False
    for word in split:
        if word.startswith("--"):
            skipping = bool(change.method) and (word == "--method" or word.startswith("--method."))
            if change.game and word == "--game":
                remaining += ["--game", "changed"]
            if change.game and (word == "--game" or word.startswith("--game.")):
                word = f"--game.game{word.removeprefix('--game')}"
        if not skipping:
            remaining.append(word)
    return [*remaining, *command_words(change)]


def _arguments(settings: Mapping[str, Any], imports: set[tuple[str, str]]) -> list[str]:
    return [f"{name}={_expression(value, imports)}" for name, value in settings.items()]


def _expression(value: Any, imports: set[tuple[str, str]]) -> str:
    """Return a value as Python, and add what it imports."""
    if is_dataclass(value) and not isinstance(value, type):
        folder = type(value).__module__.rpartition(".")[0]
        imports.add((folder, type(value).__name__))
        return f"{type(value).__name__}({', '.join(_arguments(_settings(value), imports))})"
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{key!r}: {_expression(item, imports)}" for key, item in value.items()) + "}"
    if isinstance(value, tuple):
        items = [_expression(item, imports) for item in value]
        return f"({', '.join(items)}{',' if len(items) == 1 else ''})"
    if isinstance(value, list):
        return f"[{', '.join(_expression(item, imports) for item in value)}]"
    text = repr(value)
    ast.literal_eval(text)  # anything else has no form in Python
    return text


def _settings(member: Any) -> dict[str, Any]:
    """Return the settings of a member that differ from their defaults."""
    return {f.name: getattr(member, f.name) for f in fields(member) if f.init and getattr(member, f.name) != f.default}


def _words(option: str, value: Any) -> list[str]:
    """Return an option with its value, and the settings of a member as options of their own."""
    if is_dataclass(value) and not isinstance(value, type | Schedule):
        words = [option, name_of(type(value))]
        for name, setting in _settings(value).items():
            words += _words(f"{option}.{name}", setting)
        return words
    if isinstance(value, Mapping) and value:
        return [word for key, item in value.items() for word in _words(f"{option}.{key}", item)]
    if isinstance(value, list | tuple) and len(value) == 1 and is_dataclass(value[0]) and not _settings(value[0]):
        return [option, name_of(type(value[0]))]
    return [option, _text(value)]


def _text(value: Any) -> str:
    """Return a value as one word, in YAML where it is nested."""
    if isinstance(value, Schedule):
        return _schedule(value)
    if isinstance(value, bool | int | float) or value is None:
        return repr(value).lower() if isinstance(value, bool) else repr(value)
    return (
        value if isinstance(value, str) else yaml.safe_dump(_plain(value), default_flow_style=True, width=10**6).strip()
    )


def _plain(value: Any) -> Any:
    if isinstance(value, Schedule):
        return _schedule(value)
    if is_dataclass(value) and not isinstance(value, type):
        settings = {name: _plain(item) for name, item in _settings(value).items()}
        return {"class_path": name_of(type(value)), **({"init_args": settings} if settings else {})}
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    return [_plain(item) for item in value] if isinstance(value, list | tuple) else value


def _schedule(schedule: Schedule) -> str:
    """Return a schedule as `detente.schedules.parse` reads it."""
    require(is_dataclass(schedule), "schedule", schedule, "a schedule with a form as text")
    settings = ", ".join(repr(getattr(schedule, f.name)) for f in fields(schedule))  # pyright: ignore
    return f"{name_of(type(schedule))}({settings})"
