"""The options of commands that train on an executor: which one, and its settings."""

from __future__ import annotations

from collections.abc import Sequence
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from detente.cli.binding import read
from detente.cli.command_words import Parser
from detente.errors import InvalidValue, Unquoted, unknown
from detente.registry import described

if TYPE_CHECKING:
    from detente.executors.base import Executor

NAMES = ("--executor", "--workers", "--address", "--gpus")
OF_EXECUTORS = {"workers": ("processes", "ray", "slurm"), "address": ("ray",), "gpus": ("ray",)}
SLURM = "--slurm."


def add_executor_options(parser: Parser) -> None:
    """Add the options to a parser."""
    group = parser.page.add_argument_group("where the trainings run")
    text = "here: one after the other (default); processes: on this machine; ray or slurm: on a cluster"
    parser.add("--executor", str, text, "here", "NAME", group)
    parser.add("--workers", int, "number of trainings at once", None, "N", group)
    parser.add("--address", str, "of Ray’s cluster, e.g. auto (default: start Ray on this machine)", None, page=group)
    parser.add("--gpus", float, "GPUs of a training, with ray (default: 0)", None, "N", group)
    group.add_argument("--slurm.KEY", metavar="VALUE", help="a setting of submitit, e.g. --slurm.partition gpu")


def split_slurm_settings(words: Sequence[str]) -> tuple[list[str], dict[str, Any]]:
    """Return the words without settings such as `--slurm.partition gpu`, and these settings.

    Raises:
        InvalidValue: a setting has no value.
    """
    others: list[str] = []
    settings: dict[str, Any] = {}
    queue = list(words)
    while queue:
        word = queue.pop(0)
        if not word.startswith(SLURM):
            others.append(word)
            continue
        name, equals, value = word.removeprefix(SLURM).partition("=")
        if not equals and (not queue or queue[0].startswith("--")):
            raise InvalidValue(f"slurm.{name}", Unquoted("no value"), "a value")
        settings[name] = read(value if equals else queue.pop(0))
    return others, settings


def chosen_executor(options: SimpleNamespace, slurm: dict[str, Any]) -> Executor:
    """Return the executor that parsed options describe.

    Raises:
        InvalidValue: there is no such executor, its package is not installed, or it has no such setting.
    """
    name, kinds = options.executor, described("executors")
    if name not in kinds:
        raise unknown("executor", name, kinds)
    settings: dict[str, Any] = {}
    for option, executors in OF_EXECUTORS.items():
        value = getattr(options, option)
        if value is not None and name not in executors:
            raise InvalidValue(option, value, f"an option of --executor {' or '.join(executors)}")
        settings |= {} if value is None else {option: value}
    if slurm and name != "slurm":
        raise InvalidValue(f"slurm.{next(iter(slurm))}", next(iter(slurm.values())), "an option of --executor slurm")
    executor = kinds[name](**settings, **({"settings": slurm} if slurm else {}))
    executor.check()
    return executor
