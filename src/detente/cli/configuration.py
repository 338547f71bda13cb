"""From words and YAML files to a `Run`, and from a run directory back to its `Run`."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from detente.cli.binding import Word, make, members_in, plain, prefixed
from detente.cli.command_words import Parser
from detente.cli.imports import hints, parameters, reason
from detente.cli.naming import games as games
from detente.cli.naming import members_for, named
from detente.cli.naming import named_methods as named_methods
from detente.cli.option_help import contents, documented, page, with_type
from detente.cli.yaml_file import FIELDS, options_of, read_yaml
from detente.errors import InvalidValue, require
from detente.game import Game
from detente.training.progress import Progress
from detente.training.run import Run
from detente.training.run_directory import checkpoint
from detente.training.run_directory.description import built_in_python, read_configuration

DEFAULT_METHOD = "alternating"  # how GANs are usually trained
METAVARS = {"game": "NAME", "method": "NAME", "seeds": "N", "seconds": "S"}
MEMBERS = {"game": "ring", "method": "consensus"}  # options with settings of their own, and an example of each


def parser(
    command: str, description: str, examples: str = "", without: tuple[str, ...] = (), **defaults: Any
) -> Parser:
    """Return a parser whose options are the fields of `Run`, with their documentation.

    Args:
        command: the command's name.
        description: what it does, in one line.
        examples: further lines at the end of the help page.
        without: fields that are no options.
        defaults: other defaults than those of `Run`.
    """
    required = "--game NAME" if without else "--game NAME [--method NAME]"
    usage = f"detente {command} {required} [--{'game' if without else 'method'}.SETTING VALUE …] [OPTION …]"
    command_parser = Parser(command, description, examples, usage)
    command_parser.add("--config", Path, "YAML file with any of these options, e.g. a run.yaml", None, "FILE")
    group = command_parser.page.add_argument_group((inspect.getdoc(Run) or "").partition("\n")[0].rstrip("."))
    described, command_parser.roles = documented(Run), tuple(MEMBERS)
    for name, parameter in parameters(Run)[0].items():
        default, text = defaults.get(name, parameter.default), described[name]
        if name in MEMBERS:
            example = f"show the settings of one {name} as options, e.g. --{name}.help {MEMBERS[name]}"
            group.add_argument(f"--{name}.help", nargs="?", metavar="NAME", help=example)
        if name in without:
            continue
        if name not in MEMBERS and parameter.annotation is not bool:
            text = with_type(text, parameter.annotation, default)
        command_parser.add(f"--{name}", parameter.annotation, text, default, METAVARS.get(name), group)
    return command_parser


def parse(command_parser: Parser, words: Sequence[str]) -> SimpleNamespace:
    """Return the options of a command line, and of the configuration files that it names.

    Raises:
        InvalidValue: an option or a value that is not allowed.
        SystemExit: a help page was requested, and printed.
    """
    pairs = command_parser.split(words)
    options: dict[str, Any] = {}
    for name, value in pairs:
        owner, _, key = name.partition(".")
        if key == "help":
            table = members_for(hints(Run)[owner])
            print(page(owner, value, named(owner, value, table)) if value else contents(owner, table))
            raise SystemExit(0)
        if name == "config":
            content = read_yaml(Path(value))
            options |= {field: content[field] for field in content if field in command_parser.kinds}
    if "method" in command_parser.kinds:
        options.setdefault("method", DEFAULT_METHOD)
    for name, value in sorted(pairs, key=lambda pair: pair[0].count(".")):  # members before their settings
        _put(options, name, value)
    return command_parser.values(options)


def build(command_parser: Parser, options: SimpleNamespace) -> Run:
    """Return the run that parsed options describe.

    Raises:
        InvalidValue: what the run or its parts refuse.
    """
    settings = {name: make(getattr(options, name)) for name in FIELDS}
    try:
        return Run(**settings)
    except InvalidValue as error:
        raise _named_by_options(error, options, settings["game"]) from error
    except Exception as error:  # a user's own classes may raise anything
        paths = f"{options.game.path}, {options.method.path}"
        message = f"{type(error).__name__}: {reason(error)}"[:300]
        raise InvalidValue("game, method", paths, "a game and a method that can be trained", message) from error


def resolved(command_parser: Parser, options: SimpleNamespace) -> dict[str, Any]:
    """Return the options of a run as nested mappings, with all defaults, fit for YAML."""
    return {name: plain(getattr(options, name)) for name in FIELDS}


def rebuilt(content: dict[str, Any]) -> Run:
    """Return the run that resolved options describe."""
    command_parser = parser("run", "")
    return build(command_parser, command_parser.values(options_of(content)))


def from_directory(directory: Path) -> tuple[Parser, SimpleNamespace]:
    """Return the parser and the options of the run in a directory.

    Raises:
        InvalidValue: the directory holds no run, or one whose game was made in Python.
    """
    path, allowed = directory / "run.yaml", "a directory that `detente train` wrote"
    require(path.is_file(), "run", str(directory), allowed)
    if built_in_python(read_configuration(directory)):
        hint = "A Python call such as detente.compare made this one; the same call goes on with it"
        raise InvalidValue("run", str(directory), allowed, hint)
    folder = str(read_configuration(directory).get("folder") or "")
    if folder and folder not in sys.path:
        sys.path.append(folder)  # where the user's own modules were when the run started
    command_parser = parser("run", "")
    return command_parser, parse(command_parser, ["--config", str(path)])


def checkpointed_steps(directory: Path) -> list[int]:
    """Return the steps of the checkpoints in a run directory, ascending."""
    return [checkpoint.step_of(path) for path in checkpoint.files(directory / "checkpoints")]


def trained(directory: Path, seed: int | None = None, step: int | None = None) -> tuple[Run, Progress]:
    """Return the run in a directory, and a checkpoint of a seed (default: the last of the first seed).

    Raises:
        InvalidValue: the directory has no run, no complete checkpoint, no such seed, or no checkpoint of that step.
    """
    run = build(*from_directory(directory))
    if step is None:
        loaded = checkpoint.load(directory / "checkpoints", run)
    else:
        paths = {checkpoint.step_of(path): path for path in checkpoint.files(directory / "checkpoints")}
        steps = ", ".join(map(str, paths)) or "none"
        require(step in paths, "step", step, f"a step with a checkpoint: {steps}")
        loaded = checkpoint.read(paths[step], run)
    by_seed = {progress.seed: progress for progress in loaded}
    seed = run.seeds[0] if seed is None else seed
    require(seed in by_seed, "seed", seed, f"one of {', '.join(map(str, by_seed))}")
    return run, by_seed[seed]


def _named_by_options(error: InvalidValue, options: SimpleNamespace, game: Game) -> InvalidValue:
    """Return an error of a run with options, and the game's name, in place of Python's names."""
    for member in members_in([options.method, options.game]):
        error = prefixed(error, member)
    field, value, hint = error.field, error.value, error.hint
    if field == "game" and isinstance(value, str):
        value = value.replace(type(game).__name__, options.game.path.rpartition(".")[2])
    if "." not in field and field not in FIELDS:
        field = f"method ({field})"
    if "fixed_latents=True" in hint:  # a game without this parameter
        settings = options.game.settings or {}
        name = "" if "points" in settings else "a GAN such as --game ring "
        hint = f"Use {name}--game.points {5 * settings['batch'] if 'points' in settings else 2560}"
    return InvalidValue(field, value, error.allowed, hint)


def _put(options: dict[str, Any], name: str, value: Any) -> None:
    """Set an option, or with `game.penalty.strength` the setting of a member, in nested mappings."""
    *owners, key = name.split(".")
    for owner in owners:
        node = options.get(owner)
        if not (isinstance(node, dict) and "class_path" in node):
            node = {"class_path": node}
        options[owner] = node = {**node, "init_args": {**(node.get("init_args") or {})}}
        options = node["init_args"]
    node = options.get(key)
    if isinstance(value, Word) and isinstance(node, dict) and "class_path" in node:
        value = {**node, "class_path": value}  # keeps those settings that the new member has, too
    options[key] = value
