"""The options of a command: their values read from words, and their help pages."""

from __future__ import annotations

import argparse
import functools
import inspect
import math
import re
import typing
from collections.abc import Callable, Sequence
from inspect import Parameter
from types import SimpleNamespace
from typing import Any

from detente.cli.binding import Word, bind_all, read
from detente.cli.naming import alternatives, in_words, loaded, parameters
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
        self.roles: tuple[str, ...] = ()  # options with help pages and settings of their own, as `--game.width`

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
        return self.values(dict(self.split(words)))

    def split(self, words: Sequence[str]) -> list[tuple[str, Any]]:
        """Return the options with the words that follow them; `None` after `--game.help` alone."""
        if "-h" in words or "--help" in words:
            print(self.page.format_help(), end="")
            raise SystemExit(0)
        positional, pairs, room = [*self.positional], [], 0.0  # room: how many more words the last option takes
        names = ["--help", *(f"--{name}" for name in self.options if name not in positional)]
        for word in words:
            name, equals, value = word.removeprefix("--").partition("=")
            role, _, key = name.partition(".")
            if word.startswith("--"):
                setting = key and role in self.roles and (key == "help" or role in self.options)
                if not setting and f"--{name}" not in names:
                    raise unknown("option", f"--{name}", names)
                pairs.append((name, [Word(value)] if equals else []))
            elif room and (self._kind(pairs[-1][0]) is not bool or isinstance(read(word), bool)):
                pairs[-1][1].append(Word(word))
                room -= 1
                continue
            elif positional:
                pairs.append((positional.pop(0), [Word(word)]))
            else:
                raise unknown("option", word.partition("=")[0], names)
            room = 0 if equals else math.inf if _takes_several(self._kind(pairs[-1][0])) else not pairs[-1][1]
        return [(name, self._value(name, following)) for name, following in pairs]

    def values(self, values: dict[str, Any]) -> SimpleNamespace:
        """Return the converted values of all options, by name."""
        for name, text in self.positional.items():
            if name not in values and self.options[name].default is REQUIRED:
                raise InvalidValue(name, None, text, "It is required")
        bound = bind_all("", self.options, values)
        return SimpleNamespace(**{name.replace("-", "_"): value for name, value in bound.items()})

    def _kind(self, name: str) -> Any:
        return self.options[name].annotation if name in self.options else Any

    def _value(self, name: str, words: list[Word]) -> Any:
        kind = self._kind(name)
        if _takes_several(kind) and not (len(words) == 1 and words[0].startswith("[")):
            return words
        if not words and kind is not bool and not name.endswith(".help"):
            raise InvalidValue(name, Unquoted("no value"), in_words(kind))
        return words[0] if words else True if kind is bool else None


def member_page(option: str, name: str, member: Callable[..., Any]) -> str:
    """Return the help page of one game or method: its description, its settings as options, its source."""
    if any(parameter.default is ... for parameter in parameters(member)[0].values()):
        member = loaded(member)  # a default that an outline cannot evaluate
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
