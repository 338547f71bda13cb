"""Types in words, and the help pages of games and methods."""

from __future__ import annotations

import collections.abc
import inspect
import re
import textwrap
import types
import typing
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from detente.cli.imports import parameters
from detente.registry import FOLDERS, summary

WORDS = {  # a type in the singular and in the plural
    int: ("an integer", "integers"),
    float: ("a number", "numbers"),
    bool: ("true or false", "truth values"),
    str: ("a word", "words"),
    Path: ("a path", "paths"),
    type(None): ("None", "None"),
}
NAMED = {
    "Game": ("a name from `detente list games`, or MODULE.NAME of your own", "games"),
    "Method": ("a name from `detente list methods`, or MODULE.NAME of your own", "methods"),
    "Data": ("data", "data"),
    "Penalty": ("a penalty", "names of penalties"),
    "Schedule": ("a schedule", "schedules"),
    "Module": ("an nn.Module", "nn.Modules"),
    "Tensor": ("a tensor", "tensors"),
    "object": ("a path", "paths"),
}


def in_words(annotation: Any, plural: bool = False) -> str:
    """Return a type in words: `float | Schedule | None` → "a number, a schedule or None"."""
    origin, inside = typing.get_origin(annotation), typing.get_args(annotation)
    if origin is typing.Literal:
        return _joined([repr(choice) for choice in inside])
    if origin in (typing.Union, types.UnionType):
        return _joined(list(dict.fromkeys(in_words(part, plural) for part in inside)))
    if origin is collections.abc.Callable:
        return "MODULE.NAME of a class or function that makes one"
    if inspect.isclass(origin) and issubclass(origin, collections.abc.Mapping):
        return f"a mapping from names to {in_words(inside[1], plural=True)}"
    if inspect.isclass(origin) and issubclass(origin, collections.abc.Sequence) and inside:
        return f"{'lists' if plural else 'a list'} of {in_words(inside[0], plural=True)}"
    name = getattr(annotation, "__name__", str(annotation))
    folder = next((folder for folder, path in FOLDERS.items() if path.endswith(f".{name}")), "")
    singular = folder.removesuffix("s")
    role = (f"{'an' if singular[:1] in 'aeiou' else 'a'} {singular}", f"names of {folder}")
    words = WORDS.get(annotation) or NAMED.get(name) or (role if folder else ("a value", "values"))
    return words[plural]


def page(option: str, name: str, member: Callable[..., Any]) -> str:
    """Return the help page of one game or method: its description, its settings as options, its source."""
    docstring = inspect.getdoc(member) or ""
    described = documented(member)
    lines = [f"--{option} {name}: {docstring.partition(f'{chr(10)}Args:{chr(10)}')[0].strip()}", ""]
    for key, parameter in parameters(member)[0].items():
        lines += [f"  --{option}.{key}{' (required)' if parameter.default is parameter.empty else ''}"]
        text = with_type(described.get(key, ""), parameter.annotation, parameter.default)
        lines += textwrap.wrap(text, 100, initial_indent=" " * 6, subsequent_indent=" " * 6)
    source = re.search(r"^Source: .*(?:\n\s+.*)*", docstring, re.MULTILINE)
    return "\n".join([*lines, *(["", re.sub(r"\s+", " ", source[0])] if source else [])])


def contents(option: str, table: Mapping[str, Callable[..., Any]]) -> str:
    """Return the list of all games or methods, one line each."""
    width = max(map(len, table))
    listed = [f"  {name:<{width}}  {summary(member)}" for name, member in table.items()]
    return "\n".join([f"--{option} takes one of these; --{option}.help NAME shows its settings.", "", *listed])


def documented(member: Callable[..., Any]) -> dict[str, str]:
    """Return the description of each argument in a docstring."""
    descriptions: dict[str, str] = {}
    name = ""
    for line in (inspect.getdoc(member) or "").partition("\nArgs:\n")[2].splitlines():
        if line.strip() and not line.startswith("    "):
            break
        if start := re.match(r"    (\w+): (.*)", line):
            name, descriptions[start[1]] = start[1], start[2]
        elif name:
            descriptions[name] += " " + line.strip()
    return {name: text.strip().rstrip(".") for name, text in descriptions.items()}


def with_type(text: str, annotation: Any, default: Any) -> str:
    """Return an option's description with its type and, unless the description states it, its default."""
    stated = default is inspect.Parameter.empty or (default is None and "default" in text)
    shown = " ".join(map(str, default)) or "none" if isinstance(default, tuple | list) else default
    return f"{text} ({in_words(annotation)}{'' if stated else f'; default {shown}'})".strip()


def _joined(parts: list[str]) -> str:
    return parts[0] if len(parts) == 1 else f"{', '.join(parts[:-1])} or {parts[-1]}"
