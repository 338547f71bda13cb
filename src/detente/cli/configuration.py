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
from detente.training.run_directory.description import made_in_python, recorded

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
    needed = "--game NAME" if without else "--game NAME [--method NAME]"
    usage = f"detente {command} {needed} [--{'game' if without else 'method'}.SETTING VALUE …] [OPTION …]"
    made = Parser(command, description, examples, usage)
    made.add("--config", Path, "YAML file with any of these options, e.g. a run.yaml", None, "FILE")
    group = made.page.add_argument_group((inspect.getdoc(Run) or "").partition("\n")[0].rstrip("."))
    described, made.roles = documented(Run), tuple(MEMBERS)
    for name, parameter in parameters(Run)[0].items():
        default, text = defaults.get(name, parameter.default), described[name]
        if name in MEMBERS:
            example = f"show the settings of one {name} as options, e.g. --{name}.help {MEMBERS[name]}"
            group.add_argument(f"--{name}.help", nargs="?", metavar="NAME", help=example)
        if name in without:
            continue
        if name not in MEMBERS and parameter.annotation is not bool:
            text = with_type(text, parameter.annotation, default)
        made.add(f"--{name}", parameter.annotation, text, default, METAVARS.get(name), group)
    return made


def parse(made: Parser, words: Sequence[str]) -> SimpleNamespace:
    """Return the options of a command line, and of the configuration files that it names.

    Raises:
        InvalidValue: an option or a value that is not allowed.
        SystemExit: a help page was asked for, and printed.
    """
    pairs = made.split(words)
    options: dict[str, Any] = {}
    for name, value in pairs:
        owner, _, key = name.partition(".")
        if key == "help":
            table = members_for(hints(Run)[owner])
            print(page(owner, value, named(owner, value, table)) if value else contents(owner, table))
            raise SystemExit(0)
        if name == "config":
            options |= {field: one for field, one in read_yaml(Path(value)).items() if field in made.kinds}
    if "method" in made.kinds:
        options.setdefault("method", DEFAULT_METHOD)
    for name, value in sorted(pairs, key=lambda pair: pair[0].count(".")):  # members before their settings
        _put(options, name, value)
    return made.values(options)


def build(made: Parser, options: SimpleNamespace) -> Run:
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


def resolved(made: Parser, options: SimpleNamespace) -> dict[str, Any]:
    """Return the options of a run as nested mappings, with all defaults, fit for YAML."""
    return {name: plain(getattr(options, name)) for name in FIELDS}


def rebuilt(content: dict[str, Any]) -> Run:
    """Return the run that resolved options describe."""
    made = parser("run", "")
    return build(made, made.values(options_of(content)))


def from_directory(directory: Path) -> tuple[Parser, SimpleNamespace]:
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
        steps = ", ".join(map(str, paths)) or "there is none"
        require(step in paths, "step", step, f"a step with a checkpoint: {steps}")
        loaded = checkpoint.read(paths[step], run)
    progress = {one.seed: one for one in loaded}
    chosen = run.seeds[0] if seed is None else seed
    require(chosen in progress, "seed", seed, f"one of {', '.join(map(str, progress))}")
    return run, progress[chosen]


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
    before = options.get(key)
    kept = isinstance(value, Word) and isinstance(before, dict) and "class_path" in before
    options[key] = {**before, "class_path": value} if kept and isinstance(before, dict) else value
