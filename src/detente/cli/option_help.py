"""Options in words: help pages that a person would want to read, and complaints in one line."""

from __future__ import annotations

import argparse
import collections.abc
import inspect
import re
import textwrap
import types
import typing
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import jsonargparse

from detente.cli.imports import as_typed, hints, imported
from detente.cli.naming import Called, resolve
from detente.errors import InvalidValue, unknown
from detente.registry import FOLDERS, summary

PLAIN = {
    int: ("an integer", "integers"),
    float: ("a number", "numbers"),
    bool: ("true or false", "truth values"),
    str: ("a word", "words"),
    Path: ("a path", "paths"),
    type(None): ("nothing", "nothing"),
}
INTERNAL = re.compile(r"NestedArg|Namespace\(|jsonargparse")  # what must not be shown
ROLES = {path.rpartition(".")[2]: folder for folder, path in FOLDERS.items() if folder != "networks"}


class Formatter(jsonargparse.DefaultHelpFormatter, argparse.RawDescriptionHelpFormatter):
    """jsonargparse's help with types and defaults in words, and examples left as they are."""

    def __init__(self, prog: str) -> None:
        super().__init__(prog, max_help_position=28)

    def _format_action_invocation(self, action: argparse.Action) -> str:
        return re.sub(r", --\w+\+ .*$", "", super()._format_action_invocation(action))

    def _get_help_string(self, action: argparse.Action) -> str:
        text = (action.help or "").rstrip(".")
        kind = getattr(action, "_typehint", None)
        settled = action.default in (None, argparse.SUPPRESS, False) or "default" in text
        said = [in_words(kind)] * (kind is not None and action.dest.partition(".")[0] not in ("game", "method"))
        said += [] if settled else [f"default {_shown(action.default)}"]
        return f"{text} ({'; '.join(said)})" if said else text


class Words(argparse.ArgumentParser):
    """A plain parser whose complaints are ours."""

    def __init__(self, command: str, description: str, examples: str = "") -> None:
        formatter = argparse.RawDescriptionHelpFormatter
        super().__init__(
            f"detente {command}",
            description=description,
            epilog=examples,
            formatter_class=formatter,
            allow_abbrev=False,
        )

    def error(self, message: str) -> typing.NoReturn:
        raise complaint(message, self._actions, {})


def in_words(annotation: Any, several: bool = False) -> str:
    """Return a type in words: `float | Schedule | None` → "a number, a schedule or nothing"."""
    origin, inside = typing.get_origin(annotation), typing.get_args(annotation)
    if annotation in PLAIN:
        return PLAIN[annotation][several]
    if origin is typing.Literal:
        return _joined([repr(choice) for choice in inside])
    if origin in (typing.Union, types.UnionType):
        return _joined(list(dict.fromkeys(in_words(part, several) for part in inside)))
    if inspect.isclass(origin) and issubclass(origin, collections.abc.Mapping):
        return f"a mapping from names to {in_words(inside[1], several=True)}"
    if origin is collections.abc.Callable:
        return "MODULE.NAME of a class or function that makes one"
    if inspect.isclass(origin) and issubclass(origin, collections.abc.Sequence) and inside:
        return f"{'lists' if several else 'a list'} of {in_words(inside[0], several=True)}"
    name = getattr(annotation, "__name__", str(annotation))
    if name in ROLES:
        if name in ("Data", "Penalty"):
            return "data" if name == "Data" else "names of penalties" if several else "a penalty"
        one = ROLES[name].removesuffix("s")
        return f"names of {ROLES[name]}" if several else f"{'an' if one[0] in 'aeiou' else 'a'} {one}"
    words = {"Schedule": "a schedule", "Module": "an nn.Module", "Tensor": "a tensor", "object": "a path"}
    return words.get(name, "a value")


def page(option: str, name: str, member: Callable[..., Any]) -> str:
    """Return the help page of one game or method: what it is, its settings as options, its source."""
    described = inspect.getdoc(member) or ""
    about, _, rest = described.partition("\nArgs:\n")
    said = _said(rest)
    lines = [f"--{option} {name}: {about.strip()}", ""]
    for key, parameter in inspect.signature(member).parameters.items():
        text = said.get(key, "").strip().rstrip(".")
        settled = parameter.default is parameter.empty or (parameter.default is None and "default" in text)
        default = "" if settled else f"; default {_shown(parameter.default)}"
        needed = " (required)" if parameter.default is parameter.empty else ""
        lines += [f"  --{option}.{key}{needed}"]
        line = f"{text} ({in_words(hints(member).get(key, Any))}{default})".strip()
        lines += textwrap.wrap(line, 100, initial_indent=" " * 6, subsequent_indent=" " * 6)
    source = re.search(r"^Source: .*(?:\n\s+.*)*", described, re.MULTILINE)
    return "\n".join([*lines, *(["", re.sub(r"\s+", " ", source[0])] if source else [])])


def contents(option: str, table: Mapping[str, Callable[..., Any]]) -> str:
    """Return the list of all games or methods, one line each."""
    width = max(map(len, table))
    listed = [f"  {name:<{width}}  {summary(member)}" for name, member in table.items()]
    return "\n".join([f"--{option} takes one of these; --{option}.help NAME says more.", "", *listed])


def show_page(
    pairs: Sequence[tuple[str | None, str | None]], tables: Mapping[str, Callable[[], Mapping[str, Callable[..., Any]]]]
) -> None:
    """Print the help page of a game or method and leave, if one of the options asks for it.

    Args:
        pairs: the options with their values.
        tables: what each of game and method may be called.

    Raises:
        SystemExit: the page was printed.
    """
    for option, value in pairs:
        field, _, asked = (option or "").partition(".")
        if asked == "help" and field in tables:
            table = tables[field]()
            named = None if value is None else imported(resolve(field, value, table), field)
            print(contents(field, table) if value is None or named is None else page(field, value, named))
            raise SystemExit(0)


def complaint(
    message: str, actions: Sequence[argparse.Action], called: Called, given: Mapping[str, str] | None = None
) -> InvalidValue:
    """Return a parser's many-line error as one line in our form.

    Args:
        message: what argparse or jsonargparse says.
        actions: the parser's.
        called: by option, what its value calls.
        given: by option, the value as the user wrote it.
    """
    text = as_typed(re.sub(r"\s+", " ", message).strip())
    options = [
        option
        for action in actions
        for option in action.option_strings
        if option.startswith("--") and option != "--print_shtab"
    ]
    head = re.match(r"(?:Parser key|argument) \"?-*([\w./-]+?)\"?: ", text)
    keys = re.findall(r"class_path '[^']*': Parser key \"([\w.]+)\":", text)
    field = ".".join([*([head[1]] if head else []), *keys])
    if found := re.search(r"unrecognized arguments: (\S+)", text):
        return unknown("option", found[1], options)
    if found := re.search(r"arguments are required: ([\w-]+)", text):
        name = f"{field}.{found[1]}" if field else found[1].lstrip("-")
        return InvalidValue(name, None, _allowed(name, actions, called), "It is required")
    if found := re.search(r"(?:Key|Option|key|option) ['\"]([\w.]+)['\"] is not", text):
        return unknown(f"{field}.{found[1]}", found[1], hints(called[field]) if field in called else [])
    if "expected one argument" in text or "expected at least one" in text:
        return InvalidValue(field, "nothing", _allowed(field, actions, called))
    value = (given or {}).get(field)
    if nested := re.search(r"NestedArg\(key='([\w.]+)', val='?(.*?)'?\)", text):
        field, value = f"{field.removesuffix(f'.{nested[1]}')}.{nested[1]}", nested[2]
    if value is None:
        found = re.search(r"(?:Given value|Got value|value): '?(.*?)'?$", text)
        value = found[1] if found else "a value that does not fit"
        if INTERNAL.search(value):
            value = "a value that does not fit"
    return InvalidValue(field or "option", value, _allowed(field, actions, called))


def _allowed(field: str, actions: Sequence[argparse.Action], called: Called) -> str:
    """Return what an option takes, in words."""
    owner, _, key = field.rpartition(".")
    if owner in called and key in hints(called[owner]):
        return in_words(hints(called[owner])[key])
    for action in actions:
        if action.dest == field or field.lstrip("-") in (option.lstrip("-") for option in action.option_strings):
            kind = getattr(action, "_typehint", None) or action.type
            if field in ("game", "method"):
                return f"a name from `detente list {field}s`, or MODULE.NAME of your own"
            return in_words(kind) if kind is not None else str(action.help)
    return "a value of the kind that --help describes"


def _said(arguments: str) -> dict[str, str]:
    """Return what a docstring says about each argument."""
    found: dict[str, str] = {}
    name = ""
    for line in arguments.splitlines():
        if line.strip() and not line.startswith("    "):
            break
        if start := re.match(r"    (\w+): (.*)", line):
            name, found[start[1]] = start[1], start[2]
        elif name:
            found[name] += " " + line.strip()
    return found


def _shown(default: Any) -> str:
    if isinstance(default, tuple | list):
        return " ".join(map(str, default)) or "none"
    return "nothing" if default is None else str(default)


def _joined(parts: list[str]) -> str:
    return parts[0] if len(parts) == 1 else f"{', '.join(parts[:-1])} or {parts[-1]}"
