"""From words to a `Run`: command line and YAML files, by way of jsonargparse, with names instead of import paths."""

from __future__ import annotations

import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jsonargparse
import yaml

from detente.cli.command_words import flow, keys_of, pairs_of
from detente.cli.imports import as_typed, for_parser, hints, imported, untyped
from detente.cli.naming import (
    Called,
    games,
    named_methods,
    read,
    resolve,
    resolved_value,
    role_of,
)
from detente.cli.option_help import Formatter, complaint, show_page
from detente.cli.yaml_file import FIELDS, read_yaml, resolved_content
from detente.errors import InvalidValue, require, unknown
from detente.methods.method import Method
from detente.training.progress import Progress
from detente.training.run import Run
from detente.training.run_directory import checkpoint
from detente.training.run_directory.description import made_in_python, recorded

jsonargparse.set_parsing_settings(subclasses_enabled=[Method])

DEFAULT_METHOD = "alternating"  # how GANs are usually trained
TABLES = {"game": games, "method": named_methods}
EXAMPLES = {"game": "ring", "method": "consensus"}


def parser(
    command: str, description: str, examples: str = "", without: tuple[str, ...] = ()
) -> jsonargparse.ArgumentParser:
    """Return a parser whose options are the fields of `Run`, with their documentation."""
    needed = "--game NAME" if without else "--game NAME [--method NAME]"
    made = jsonargparse.ArgumentParser(
        prog=f"detente {command}",
        usage=f"detente {command} {needed} [--{'game' if without else 'method'}.SETTING VALUE …] [OPTION …]",
        description=description,
        epilog=examples,
        formatter_class=Formatter,
        exit_on_error=False,
        default_env=False,
        print_config=None,
    )
    made.add_argument("--config", action="config", help="YAML file with any of these options, e.g. a run.yaml")
    made.add_class_arguments(Run, skip=set(without), fail_untyped=False)
    for action in made._actions:
        action.metavar = {"game": "NAME", "method": "NAME", "seeds": "N …", "config": "FILE", "seconds": "S"}.get(
            action.dest
        )
        if action.dest.endswith(".help"):
            action.metavar, name = "NAME", action.dest.partition(".")[0]
            action.help = f"show the settings of one {name} as options, e.g. --{action.dest} {EXAMPLES[name]}"
        elif not action.metavar and getattr(action, "_typehint", None) in (int, int | None):
            action.metavar = "N"
    return made


def parse(
    made: jsonargparse.ArgumentParser, words: Sequence[str], lists: tuple[str, ...] = ("seeds",)
) -> jsonargparse.Namespace:
    """Return the parsed options of a command line; options of `lists` take several words.

    Raises:
        InvalidValue: an option or a value that is not allowed.
        SystemExit: a help page was asked for, and printed.
    """
    pairs = pairs_of(words, lists)
    show_page(pairs, TABLES)
    asked = {option for option, _ in pairs}
    called: Called = {}
    files = {value: read_yaml(Path(value), TABLES, called) for option, value in pairs if option == "config" and value}
    method = any(action.dest == "method" for action in made._actions)
    if method and "method" not in asked and not any("method" in content for content in files.values()):
        pairs.append(("method", DEFAULT_METHOD))
    ready: list[str] = []
    for option, value in sorted(pairs, key=lambda pair: _rank(pair[0])):
        if option is not None:
            _check_option(option, made, called)
        if option == "config" and value is not None:
            value = yaml.safe_dump(files[value], sort_keys=False)
        elif option in TABLES and value is not None:
            value = resolve(option, value, TABLES[option]())
            called[option] = imported(value, option)
            value = for_parser(value, role_of(hints(Run)[option]), keys_of(option, pairs))
        elif option is not None:
            value = _resolved_word(option, value, called, pairs)
        ready += [*([f"--{option}" if value is None else f"--{option}={value}"] if option else [str(value)])]
    given = {option: value for option, value in pairs if option and value is not None}
    try:
        options = made.parse_args(ready)
    except jsonargparse.ArgumentError as error:
        raise complaint(str(error), made._actions, called, given) from error
    except SystemExit:
        raise
    except Exception as error:
        raise complaint(str(error), made._actions, called, given) from error
    for option, member in called.items():
        for name in untyped(member):  # jsonargparse does not miss what has no type
            missing = options.get(".init_args.".join([*option.split("."), name])) is None
            require(not missing, f"{option}.{name}", None, "a value", "It is required")
    return options


def build(made: jsonargparse.ArgumentParser, options: jsonargparse.Namespace, **changes: Any) -> Run:
    """Return the run that parsed options describe, with `changes` made.

    Raises:
        InvalidValue: no game or no method, or what their parts refuse.
    """
    for field, table in TABLES.items():
        if options.get(field) is None:
            raise InvalidValue(field, None, ", ".join(table()), f"Say which with --{field} NAME")
    try:
        given = made.instantiate(options)
        return Run(**{**{name: given[name] for name in FIELDS}, **changes})
    except InvalidValue:
        raise
    except Exception as error:  # a user's own classes may raise anything, and so may torch at impossible sizes
        told = as_typed({field: options[field].as_dict() for field in TABLES})
        reason = re.sub(r"\s+", " ", f"{type(error).__name__}: {error}")[:300]
        raise InvalidValue("game, method", told, "parts that can be built", reason) from error


def resolved(made: jsonargparse.ArgumentParser, options: jsonargparse.Namespace) -> dict[str, Any]:
    """Return the options of a run as nested mappings, everything said, fit for YAML."""
    whole = as_typed(yaml.safe_load(made.dump(options, skip_unset=False)))
    return {name: whole[name] for name in FIELDS}


def rebuilt(content: dict[str, Any]) -> Run:
    """Return the run that resolved options describe."""
    made = parser("run", "")
    return build(made, made.parse_object(resolved_content(content, TABLES, {})))


def from_directory(directory: Path) -> tuple[jsonargparse.ArgumentParser, jsonargparse.Namespace]:
    """Return parser and options of the run in a directory.

    Raises:
        InvalidValue: there is none, or its game was made in Python.
    """
    path, allowed = directory / "run.yaml", "a directory that `detente train` wrote"
    require(path.is_file(), "run", str(directory), allowed)
    if made_in_python(recorded(directory)):
        hint = "A Python call such as detente.compare made this one; the same call goes on with it"
        raise InvalidValue("run", str(directory), allowed, hint)
    folder = str(recorded(directory).get("folder") or "")
    if folder and folder not in sys.path:
        sys.path.append(folder)  # where the user's own modules lay when the run was started
    made = parser("run", "")
    return made, parse(made, ["--config", str(path)])


def checkpointed_steps(directory: Path) -> list[int]:
    """Return the steps of the checkpoints in a run directory, ascending."""
    return [checkpoint.step_of(path) for path in checkpoint.files(directory / "checkpoints")]


def trained(directory: Path, seed: int | None = None, step: int | None = None) -> tuple[Run, Progress]:
    """Return the run in a directory, and a checkpoint of one of its seeds (default: the last, of the first).

    Raises:
        InvalidValue: there is no run, no whole checkpoint, no such seed, or no checkpoint of that step.
    """
    run = build(*from_directory(directory))
    if step is None:
        loaded = checkpoint.load(directory / "checkpoints", run)
    else:
        paths = {checkpoint.step_of(path): path for path in checkpoint.files(directory / "checkpoints")}
        require(
            step in paths, "step", step, f"a step with a checkpoint: {', '.join(map(str, paths)) or 'there is none'}"
        )
        loaded = checkpoint.read(paths[step], run)
    progress = {one.seed: one for one in loaded}
    chosen = run.seeds[0] if seed is None else seed
    require(chosen in progress, "seed", seed, f"one of {', '.join(map(str, progress))}")
    return run, progress[chosen]


def _rank(option: str | None) -> int:
    """Return when an option is read: files first, so that words have the last word; members before their settings."""
    return 0 if option == "config" else 1 if option in TABLES else 2 + (option or "").count(".")


def _resolved_word(option: str, value: str | None, called: Called, pairs: Sequence[tuple]) -> str | None:
    owner, _, key = option.rpartition(".")
    known = hints(called[owner]) if owner in called else {} if owner else hints(Run)
    if value is None or key not in known:
        return value
    before = read(value)
    after = resolved_value(option, known[key], before, called, keys_of(option, pairs))
    if after == before and type(after) is type(before):
        return value
    if isinstance(after, str):
        return after
    return after["class_path"] if isinstance(after, dict) and after.keys() == {"class_path"} else flow(after)


def _check_option(option: str, made: jsonargparse.ArgumentParser, called: Called) -> None:
    """Raise `InvalidValue` for an option that does not exist, naming the nearest one that does."""
    owner, _, key = option.rpartition(".")
    known = [action.dest for action in made._actions if not action.dest.endswith(("help", "shtab"))]
    if owner in called and hints(called[owner]) and key.rstrip("+") not in hints(called[owner]):
        raise unknown("option", f"--{option}", [f"--{owner}.{name}" for name in hints(called[owner])])
    if option.partition(".")[0] not in [*known, "help"]:
        raise unknown("option", f"--{option}", [f"--{name}" for name in known])
