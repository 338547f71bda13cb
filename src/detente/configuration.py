"""From words to a `Run`: the command line and YAML files, by way of jsonargparse, with names instead of import paths."""

from __future__ import annotations

import argparse
import dataclasses
import importlib
import inspect
import re
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import jsonargparse
import yaml

from detente import methods, standard_games
from detente.catalogue import members
from detente.errors import InvalidValue, unknown
from detente.method import Method
from detente.training.run import Run

jsonargparse.set_parsing_settings(subclasses_enabled=[Method])

class _Help(jsonargparse.DefaultHelpFormatter, argparse.RawDescriptionHelpFormatter):
    """jsonargparse's help, with examples left as they are."""


FIELDS = tuple(field.name for field in dataclasses.fields(Run))
NOT_OPTIONS = ("versions", "machine", "command")  # what a run directory's run.yaml tells besides


def games() -> dict[str, Callable[..., Any]]:
    """Return every game that can be asked for by name: the standard ones, and the members of `detente.games`."""
    return dict(sorted({**members("games"), **standard_games.names()}.items()))


def named_methods() -> dict[str, Callable[..., Any]]:
    """Return every method that can be asked for by name: the table of papers, and `method` for a triple of one's own."""
    return {**methods.names(), "method": Method}


def parser(
    command: str, description: str, examples: str = "", without: tuple[str, ...] = ()
) -> jsonargparse.ArgumentParser:
    """Return a parser whose options are the fields of `Run`, with their documentation."""
    made = jsonargparse.ArgumentParser(
        prog=f"detente {command}",
        description=description,
        epilog=examples,
        formatter_class=_Help,
        exit_on_error=False,
        default_env=False,
    )
    made.add_argument("--config", action="config", help="YAML file with any of these options, e.g. a run.yaml")
    made.add_class_arguments(Run, skip=set(without))
    return made


def parse(
    made: jsonargparse.ArgumentParser, words: Sequence[str], lists: tuple[str, ...] = ("seeds",)
) -> jsonargparse.Namespace:
    """Return the parsed options of a command line; options of `lists` take several words.

    Raises:
        InvalidValue: an option or a value that is not allowed.
    """
    words = list(words)
    for option in lists:
        words = gathered(words, option)
    known = [action.dest for action in made._actions]
    called: dict[str, Callable[..., Any]] = {}
    for index, word in enumerate(words):
        if word == "--config" and index + 1 < len(words):
            content = read_yaml(Path(words[index + 1]))
            called |= {key: _import(content[key]["class_path"]) for key in ("game", "method") if key in content}
            words[index + 1] = yaml.safe_dump(content, sort_keys=False)
    for index, word in enumerate(words):
        if word in ("--game", "--method") and index + 1 < len(words):
            path = resolve(word[2:], words[index + 1])
            words[index + 1], called[word[2:]] = path, _import(path)
    for word in words:
        _check_option(word, known, called)
    try:
        return made.parse_args(words)
    except jsonargparse.ArgumentError as error:
        raise _readable(str(error)) from error


def build(made: jsonargparse.ArgumentParser, options: jsonargparse.Namespace, **changes: Any) -> Run:
    """Return the run that parsed options describe, with `changes` made.

    Raises:
        InvalidValue: no game or no method, or what their parts refuse.
    """
    for field, table in (("game", games()), ("method", named_methods())):
        if options.get(field) is None:
            raise InvalidValue(field, None, ", ".join(table), f"Say which with --{field} NAME")
    try:
        given = made.instantiate(options)
    except (TypeError, ImportError, AttributeError) as error:
        raise _readable(str(error)) from error
    return Run(**{**{name: given[name] for name in FIELDS}, **changes})


def resolved(made: jsonargparse.ArgumentParser, options: jsonargparse.Namespace) -> dict[str, Any]:
    """Return the options of a run as nested mappings, everything said, fit for YAML."""
    whole = yaml.safe_load(made.dump(options, skip_none=False))
    return {name: whole[name] for name in FIELDS}


def from_directory(directory: Path) -> tuple[jsonargparse.ArgumentParser, jsonargparse.Namespace]:
    """Return parser and options of the run in a directory.

    Raises:
        InvalidValue: there is none.
    """
    if not (directory / "run.yaml").is_file():
        raise InvalidValue("run", str(directory), "a directory that `detente train` wrote")
    made = parser("run", "")
    return made, parse(made, ["--config", str(directory / "run.yaml")])


def read_yaml(path: Path) -> dict[str, Any]:
    """Return a configuration file's content with names resolved.

    Raises:
        InvalidValue: it cannot be read, or is no mapping.
    """
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise InvalidValue("config", str(path), "a readable YAML file", str(error).partition("\n")[0]) from error
    if not isinstance(content, dict):
        raise InvalidValue("config", str(path), "a YAML file with option names and values")
    content = {key: value for key, value in content.items() if key not in NOT_OPTIONS and value is not None}
    for key in content:
        if key not in FIELDS:
            raise unknown("config", key, FIELDS)
    for field in ("game", "method"):
        if field in content:
            chosen = content[field] if isinstance(content[field], dict) else {"class_path": str(content[field])}
            if "class_path" not in chosen:
                raise InvalidValue(field, content[field], "a name, or a mapping with class_path and init_args")
            content[field] = {**chosen, "class_path": resolve(field, str(chosen["class_path"]))}
    return content


def resolve(field: str, name: str) -> str:
    """Return the import path behind the name of a game or a method; an import path stays what it is."""
    table = games() if field == "game" else named_methods()
    if name in table:
        return f"{table[name].__module__}.{table[name].__qualname__}"
    if "." in name:
        _import(name)
        return name
    raise unknown(field, name, table)


def _import(path: str) -> Callable[..., Any]:
    if "" not in sys.path:
        sys.path.insert(0, "")  # a user's own modules lie where the user stands
    module, _, name = path.rpartition(".")
    try:
        return getattr(importlib.import_module(module), name)
    except Exception as error:  # a user's own module may raise anything
        raise InvalidValue("import", path, "MODULE.NAME of something that can be imported", str(error)) from error


def gathered(words: list[str], option: str) -> list[str]:
    """Return the words with `--option 0 1 2` written as jsonargparse reads it, `--option=[0, 1, 2]`."""
    if f"--{option}" not in words:
        return words
    at = words.index(f"--{option}")
    end = at + 1
    while end < len(words) and not words[end].startswith("--"):
        end += 1
    listed = words[at + 1 : end]
    if len(listed) == 1 and listed[0].startswith("["):
        return words
    return [*words[:at], f"--{option}=[{', '.join(listed)}]", *words[end:]]


def _check_option(word: str, known: Sequence[str], called: dict[str, Callable[..., Any]]) -> None:
    """Raise `InvalidValue` for an option that does not exist, naming the nearest one that does."""
    if not word.startswith("--") or word == "--":
        return
    name = word[2:].partition("=")[0]
    first, _, rest = name.partition(".")
    if first in called and rest:
        accepted = inspect.signature(called[first]).parameters
        key = rest.partition(".")[0].rstrip("+")
        if key not in accepted and key not in ("help", "class_path", "init_args"):
            raise unknown(first, key, accepted)
    elif first not in known and first not in ("help", "print_config"):
        raise unknown("option", f"--{name}", [f"--{one}" for one in known if one != "help"])


def _readable(message: str) -> InvalidValue:
    """Return jsonargparse's many-line error as one line in our form."""
    text = re.sub(r"\s+", " ", message).strip()
    found = re.match(r"(?:Parser key|argument) \"?-*([\w.+]+)\"?:? ?(.*)", text)
    field, reason = found.groups() if found else ("option", text)
    plain = re.search(r"Expected an? <class '(\w+)'>\. Got value: (.*)", reason)
    if plain:
        words = {"int": "an integer", "float": "a number", "tuple": "a list", "bool": "true or false"}
        return InvalidValue(field, plain[2], words.get(plain[1], plain[1]))
    return InvalidValue(field, "a value that does not fit", reason[:400])
