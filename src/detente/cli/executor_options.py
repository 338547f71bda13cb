"""The options of commands that train on an executor: which one, and its settings."""

from __future__ import annotations

from collections.abc import Mapping
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from detente.cli.command_words import Parser
from detente.errors import InvalidValue, unknown
from detente.registry import described

if TYPE_CHECKING:
    from detente.executors.base import Executor

NAMES = ("--executor", "--workers", "--address", "--gpus", "--slurm")
OF_EXECUTORS = {"workers": ("processes", "ray", "slurm"), "address": ("ray",), "gpus": ("ray",)}


def add_executor_options(parser: Parser) -> None:
    """Add the options to a parser."""
    group = parser.page.add_argument_group("where the trainings run")
    text = "here: one after the other (default); processes: on this machine; ray or slurm: on a cluster"
    parser.add("--executor", str, text, "here", "NAME", group)
    parser.add("--workers", int, "number of trainings to run at the same time", None, "N", group)
    parser.add("--address", str, "address of a Ray cluster, e.g. auto (default: start Ray here)", None, page=group)
    parser.add("--gpus", float, "GPUs for each training, with ray (default: 0)", None, "N", group)
    text = "settings of submitit, e.g. --slurm.partition gpu"
    parser.add("--slurm", Mapping[str, Any], text, {}, "{KEY: VALUE}", group)


def chosen_executor(options: SimpleNamespace) -> Executor:
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
    for key, value in options.slurm.items() if name != "slurm" else ():
        raise InvalidValue(f"slurm.{key}", value, "an option of --executor slurm")
    executor = kinds[name](**settings, **({"settings": options.slurm} if options.slurm else {}))
    executor.check()
    return executor
