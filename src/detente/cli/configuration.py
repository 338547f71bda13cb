"""From words and YAML files to a `Run`."""

from __future__ import annotations

import inspect
import json
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from detente import checks
from detente.cli import rehearsal
from detente.cli.binding import has_own, load, make, plain, raised
from detente.cli.command_words import Parser, documented, member_page, with_type
from detente.cli.display import print_members
from detente.cli.naming import find, members_for, parameters
from detente.cli.terminal import one_line
from detente.errors import InvalidValue, unknown
from detente.registry.outlines import outline
from detente.training.run_directory.status import NOT_OPTIONS

if TYPE_CHECKING:
    from detente.training.run import Run

RUN = outline("detente.training.run.Run")  # read, not imported: mistakes are found before PyTorch is
FIELDS, _ = parameters(RUN)
DEFAULT_METHOD = "alternating"  # how GANs are usually trained
MEMBERS = {"game": "ring", "method": "consensus"}  # options with settings of their own, and an example of each


def parser(
    command: str, description: str, examples: str = "", without: tuple[str, ...] = (), **defaults: Any
) -> Parser:
    """Return a parser whose options are the fields of `Run` but those `without`, with some other `defaults`."""
    required = "--game NAME" if without else "--game NAME [--method NAME]"
    usage = f"detente {command} {required} [--{'game' if without else 'method'}.SETTING VALUE …] [OPTION …]"
    command_parser = Parser(command, description, examples, usage)
    command_parser.add("--config", Path, "YAML file with any of these options, e.g. a run.yaml", None, "FILE")
    group = command_parser.page.add_argument_group((inspect.getdoc(RUN) or "").partition("\n")[0].rstrip("."))
    described = documented(RUN)
    for name, parameter in FIELDS.items():
        default, text = defaults.get(name, parameter.default), described[name]
        metavar = "NAME" if name in MEMBERS else None
        if name in MEMBERS:
            example = f"show the settings of one {name} as options, e.g. --{name}.help {MEMBERS[name]}"
            command_parser.add(f"--{name}.help", list[str], example, (), "NAME", group)
        elif parameter.annotation is not bool:
            text = with_type(text, parameter.annotation, default)
        if name not in without:
            command_parser.add(f"--{name}", parameter.annotation, text, default, metavar, group)
    return command_parser


def parse(command_parser: Parser, words: Sequence[str]) -> SimpleNamespace:
    """Return the options of a command line, and of the configuration files that it names."""
    pairs, known = command_parser.split(words), command_parser.options
    options: dict[str, Any] = {"method": DEFAULT_METHOD} if "method" in known else {}
    for name, value in pairs:
        if name == "config":
            options |= {field: content for field, content in read_yaml(Path(value)).items() if field in known}
        elif name.endswith(".help"):
            _print_help(name.removesuffix(".help"), value)
            raise SystemExit(0)
    return command_parser.values(options, pairs)


def _print_help(option: str, names: Sequence[str]) -> None:
    """Print the settings of some games or methods, or a list of all."""
    table = members_for(FIELDS[option].annotation)
    for name in names:
        print(member_page(option, name, find(option, name, table)), end="")
    if not names:
        print_members(table, f"--{option} takes one of these; --{option}.help NAME shows its settings.")


def check(options: SimpleNamespace) -> None:
    """Raise the first mistake in parsed options that shows without importing PyTorch; with a user's own parts, any."""
    if rehearsal.is_possible() and not has_own(vars(options)):
        rehearsal.rehearse(lambda: build(options))
    else:
        build(options)


def build(options: SimpleNamespace) -> Run:
    """Return the run that parsed options describe; an error of the run or its parts names the option."""
    values = {name: getattr(options, name) for name in FIELDS}
    with checks.off():  # commands that look for faults say so themselves
        settings = {name: rehearsal.attempt(make, value, not has_own(value)) for name, value in values.items()}
    try:
        return rehearsal.attempt(lambda each: RUN(**each), settings)
    except InvalidValue as error:
        raise _named_by_options(error, options, type(settings["game"]).__name__) from error
    except Exception as error:  # a user's own classes may raise anything
        paths = f"{options.game.path}, {options.method.path}"
        raise InvalidValue("game, method", paths, "a game and a method that can be trained", raised(error)) from error


def resolved(options: SimpleNamespace) -> dict[str, Any]:
    """Return the options of a run as nested mappings, with all defaults, fit for YAML."""
    return {name: plain(getattr(options, name)) for name in FIELDS}


def rebuilt(content: dict[str, Any]) -> Run:
    """Return the run that resolved options describe."""
    return build(parser("run", "").values(_options_of(content)))


def read_yaml(path: Path) -> dict[str, Any]:
    """Return the options of a run that a file holds; an error says what is wrong with it, and where."""
    try:
        raw = path.read_bytes()
        content = load(raw.decode(json.detect_encoding(raw)))
        if not isinstance(content, dict):
            raise TypeError("It is empty" if content is None else f"It is a {type(content).__name__}")
    except Exception as error:  # PyYAML raises more than its own errors
        mark = getattr(error, "problem_mark", None)
        problem = getattr(error, "problem", None) or getattr(error, "strerror", None) or one_line(error)
        if mark:
            problem = "a tab; YAML is indented with spaces" if "\\t" in problem else problem
            problem += f" (line {mark.line + 1})"
        allowed = "a readable YAML file, saved as UTF-8 or UTF-16, with option names and values"
        raise InvalidValue("config", str(path), allowed, problem) from error
    return _options_of(content)


def _options_of(content: dict[str, Any]) -> dict[str, Any]:
    options = {key: value for key, value in content.items() if key not in NOT_OPTIONS and value is not None}
    for key in options:
        if key not in FIELDS:
            raise unknown("config", key, FIELDS)
    return options


def _named_by_options(error: InvalidValue, options: SimpleNamespace, game: str) -> InvalidValue:
    """Return an error of a run with options, and the game's name, in place of Python's names."""
    for member in (options.method, options.game):
        error = member.translated(error)
    field, value, hint = error.field, error.value, error.hint
    if field == "game" and isinstance(value, str):
        value = value.replace(game, options.game.path.rpartition(".")[2])
    if "." not in field and field not in FIELDS:
        field = f"method ({field})"
    if "fixed_latents=True" in hint:  # a game without this parameter
        settings = options.game.settings or {}
        name = "" if "points" in settings else "a GAN such as --game ring "
        hint = f"Use {name}--game.points {5 * settings['batch'] if 'points' in settings else 2560}"
    return InvalidValue(field, value, error.allowed, hint)
