"""The options of a command: their values read from words, and their help pages."""

from __future__ import annotations

import argparse
import functools
import inspect
import re
import typing
from collections.abc import Callable, Sequence
from inspect import Parameter
from types import SimpleNamespace
from typing import Any

from detente.cli.binding import Word, bind_all, put, read
from detente.cli.naming import alternatives, in_words, parameters
from detente.errors import InvalidValue, Unquoted, unknown

REQUIRED = Parameter.empty


class Parser:
    """Options with their types, whose values are read from words; `argparse` only writes the help page."""

    def __init__(self, command: str, description: str, examples: str = "", usage: str | None = None) -> None:
        formatter = functools.partial(argparse.RawDescriptionHelpFormatter, max_help_position=28)
        prog = f"detente {command}"
        self.page = argparse.ArgumentParser(prog, usage, description, examples, formatter_class=formatter)
        self.options: dict[str, Parameter] = {}
        self.positional: dict[str, str] = {}  # with their descriptions

    def add(
        self, name: str, kind: Any, help: str, default: Any = REQUIRED, metavar: str | None = None, page: Any = None
    ) -> None:
        """Add an option (`--steps`) or a positional argument (`run`); `bool` is a flag, a list takes several words."""
        key = name.removeprefix("--")
        self.options[key] = Parameter("_", Parameter.KEYWORD_ONLY, default=default, annotation=kind)
        nargs = "*" if _takes_several(kind) else None
        if key == name:
            self.positional[key] = help
            nargs = ("+" if nargs else None) if default is REQUIRED else nargs or "?"
        metavar = metavar or ("N" if kind in (int, int | None) else None)
        shape: dict[str, Any] = {"action": "store_true"} if kind is bool else {"nargs": nargs, "metavar": metavar}
        (page or self.page).add_argument(name, help=help.replace("%", "%%"), **shape)

    def parse(self, words: Sequence[str]) -> SimpleNamespace:
        """Return the values of a command line, by option."""
        return self.values({}, self.split(words))

    def split(self, words: Sequence[str]) -> list[tuple[str, Any]]:
        """Return the options of a command line, such as `game` and `game.width`, with the words that follow them."""
        if "-h" in words or "--help" in words:
            print(self.page.format_help(), end="")
            raise SystemExit(0)
        names = ["--help", *(f"--{name}" for name in self.options if name not in self.positional)]
        rest: list[Word] = []
        following, groups, pairs = rest, [], []
        for word in words:
            name, equals, value = word.removeprefix("--").partition("=")
            owner, _, setting = name.partition(".")
            if not word.startswith("--"):
                following.append(Word(word))
            elif f"--{name}" in names or setting and f"--{owner}" in names:
                following = rest if equals else []
                groups.append((name, [Word(value)] if equals else following, equals))
            else:
                raise unknown("option", f"--{name}", names)
        for name, following, equals in groups:
            value, others = self._take(name, following, bool(equals))
            pairs.append((name, value))
            rest += others
        for name in self.positional:
            if rest:
                value, rest = self._take(name, rest)
                pairs.append((name, value))
        if rest:
            raise unknown("option", str(rest[0]).partition("=")[0], names)
        return pairs

    def values(self, options: dict[str, Any], pairs: Sequence[tuple[str, Any]] = ()) -> SimpleNamespace:
        """Return the converted values of all options, by name: those of a file, and those that were typed."""
        for name, value in sorted(pairs, key=lambda pair: pair[0].count(".")):  # members before their settings
            put(options, name, value)
        for name, text in self.positional.items():
            if name not in options and self.options[name].default is REQUIRED:
                raise InvalidValue(name, None, text, "It is required")
        bound = bind_all("", self.options, options)
        return SimpleNamespace(**{name.replace("-", "_"): value for name, value in bound.items()})

    def _take(self, name: str, words: list[Word], joined: bool = True) -> tuple[Any, list[Word]]:
        """Return an option's value from the words that follow it, and the words that are left."""
        kind = self.options[name].annotation if name in self.options else Any
        if _takes_several(kind) and not (words and words[0].startswith("[")):
            return words, []
        if kind is bool and not joined and not (words and isinstance(read(words[0]), bool)):
            return True, words
        if not words:
            raise InvalidValue(name, Unquoted("no value"), in_words(kind))
        return words[0], words[1:]


def member_page(option: str, name: str, member: Callable[..., Any]) -> str:
    """Return the help page of one game or method: its description, its settings as options, its source."""
    docstring, described = inspect.getdoc(member) or "", documented(member)
    text, source = docstring.partition("\nArgs:\n")[0].strip(), re.search(r"^Source: .*(?:\n\s+.*)*", docstring, re.M)
    usage = f"detente COMMAND --{option} {name} [--{option}.SETTING VALUE …]"
    parser = Parser(option, text, " ".join(source[0].split()) if source else "", usage)
    for key, parameter in parameters(member)[0].items():
        metavar = "(required)" if parameter.default is REQUIRED else "VALUE"
        text = with_type(described.get(key, ""), parameter.annotation, parameter.default)
        parser.add(f"--{option}.{key}", Any, text, parameter.default, metavar)
    return parser.page.format_help()


def documented(member: Callable[..., Any]) -> dict[str, str]:
    """Return the description of each argument in a docstring."""
    text = (inspect.getdoc(member) or "").partition("\nArgs:\n")[2].partition("\n\n")[0]
    arguments = re.findall(r"^ {4}(\w+): (.*(?:\n {8}.*)*)", text, re.M)
    return {name: " ".join(words.split()).rstrip(".") for name, words in arguments}


def with_type(text: str, annotation: Any, default: Any) -> str:
    """Return an option's description with its type and, unless the description states it, its default."""
    stated = default is REQUIRED or (default is None and "default" in text.lower())
    shown = " ".join(map(str, default)) or "none" if isinstance(default, tuple | list) else default
    return f"{text} ({in_words(annotation)}{'' if stated else f'; default {shown}'})".strip()


def _takes_several(kind: Any) -> bool:
    return any(typing.get_origin(part) in (list, tuple) for part in alternatives(kind))
