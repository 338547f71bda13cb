"""The options of a command: their help page, and their values read from words."""

from __future__ import annotations

import argparse
import functools
import typing
from collections.abc import Sequence
from inspect import Parameter
from types import SimpleNamespace
from typing import Any

from detente.cli.binding import Word, bind
from detente.cli.naming import alternatives
from detente.cli.option_help import in_words
from detente.cli.yaml_file import read
from detente.errors import InvalidValue, unknown

REQUIRED = Parameter.empty


class Parser:
    """Options with their types; `argparse` only writes the help page.

    Args:
        command: the command's name.
        description: its description, in one line.
        examples: further lines at the end of the help page.
        usage: first line of the help page (default: lists the options).
    """

    def __init__(self, command: str, description: str, examples: str = "", usage: str | None = None) -> None:
        formatter = functools.partial(argparse.RawDescriptionHelpFormatter, max_help_position=28)
        prog = f"detente {command}"
        self.page = argparse.ArgumentParser(prog, usage, description, examples, formatter_class=formatter)
        self.kinds: dict[str, Any] = {}
        self.defaults: dict[str, Any] = {}
        self.positional: dict[str, str] = {}  # with their descriptions
        self.roles: tuple[str, ...] = ()  # options with help pages and settings of their own, as `--game.width`

    def add(
        self, name: str, kind: Any, help: str, default: Any = REQUIRED, metavar: str | None = None, page: Any = None
    ) -> None:
        """Add an option (`--steps`) or a positional argument (`run`).

        Args:
            name: with its dashes.
            kind: its type; `bool` is a flag, and a list takes several words.
            help: its description.
            default: its value if it is missing (default: it is required).
            metavar: name of the value on the help page.
            page: its group on the help page.
        """
        key = name.removeprefix("--")
        self.kinds[key] = kind
        if default is not REQUIRED:
            self.defaults[key] = default
        several = "*" if name.startswith("--") or default is not REQUIRED else "+"
        nargs = several if _takes_several(kind) else None
        if key == name:
            self.positional[key] = help
            nargs = nargs or (None if default is REQUIRED else "?")
        shape: dict[str, Any] = {"nargs": nargs, "metavar": metavar or ("N" if kind in (int, int | None) else None)}
        shape = {"action": "store_true"} if kind is bool else shape
        (page or self.page).add_argument(name, help=help.replace("%", "%%"), **shape)

    def parse(self, words: Sequence[str]) -> SimpleNamespace:
        """Return the values of a command line, by option.

        Raises:
            InvalidValue: an option that does not exist, or a value that it does not take.
            SystemExit: the help page was requested, and printed.
        """
        return self.values(dict(self.split(words)))

    def split(self, words: Sequence[str]) -> list[tuple[str, Any]]:
        """Return the options with the words that follow them; `None` after `--game.help` alone."""
        if "-h" in words or "--help" in words:
            print(self.page.format_help(), end="")
            raise SystemExit(0)
        pairs: list[tuple[str, Any]] = []
        waiting, positional = list(words), list(self.positional)
        while waiting:
            word = waiting.pop(0)
            if not word.startswith("--") and positional:
                several = _takes_several(self.kinds[positional[0]])
                following = [word, *(_take(waiting) if several else [])]
                pairs.append((positional.pop(0), [*map(Word, following)] if several else Word(word)))
                continue
            name, equals, value = word.removeprefix("--").partition("=")
            head, _, key = name.partition(".")
            setting = key and head in self.roles and (key == "help" or head in self.kinds)
            names = [*(f"--{option}" for option in self.kinds if option not in self.positional), "--help"]
            if not setting and f"--{name}" not in names or not word.startswith("--"):
                raise unknown("option", word.partition("=")[0], names)
            kind = Any if key else self.kinds[name]
            if kind is bool and not equals:  # a flag; true or false may follow
                state = Word(waiting.pop(0)) if waiting and isinstance(read(waiting[0]), bool) else True
                pairs.append((name, state))
                continue
            following = [value] if equals else _take(waiting, None if _takes_several(kind) else 1)
            if _takes_several(kind) and not (len(following) == 1 and following[0].startswith("[")):
                pairs.append((name, [*map(Word, following)]))
            elif not following and key != "help":
                raise InvalidValue(name, "nothing", in_words(kind))
            else:
                pairs.append((name, Word(following[0]) if following else None))
        return pairs

    def values(self, values: dict[str, Any]) -> SimpleNamespace:
        """Return the converted values of all options, by name."""
        options = SimpleNamespace()
        for name, kind in self.kinds.items():
            if name not in values and name not in self.defaults:
                raise InvalidValue(name, None, self.positional.get(name) or in_words(kind), "It is required")
            value = bind(name, kind, values[name]) if name in values else self.defaults[name]
            setattr(options, name.replace("-", "_"), value)
        return options


def _takes_several(kind: Any) -> bool:
    return any(typing.get_origin(part) in (list, tuple) for part in alternatives(kind))


def _take(waiting: list[str], count: int | None = None) -> list[str]:
    """Remove and return the words before the next option, at most `count`."""
    following: list[str] = []
    while waiting and not waiting[0].startswith("--") and len(following) != count:
        following.append(waiting.pop(0))
    return following
