"""Registry of the members of each folder: public classes of the folder's role, defined in one of its files.

`members` and `functions` import them; `described` and `described_functions` read the same from the files' text.
"""

from __future__ import annotations

import importlib
import inspect
import pkgutil
import re
from collections.abc import Callable
from functools import cache
from typing import Any

from detente.registry.outlines import Outline, modules, outline, outlines

FOLDERS = {
    "games": "detente.game.Game",
    "objectives": "detente.objectives.base.Objective",
    "penalties": "detente.penalties.base.Penalty",
    "filters": "detente.filters.base.Filter",
    "networks": "torch.nn.Module",
    "data": "detente.data.base.Data",
    "fields": "detente.fields.base.Field",
    "schemes": "detente.schemes.base.Scheme",
    "optimizers": "detente.optimizers.base.Optimizer",
    "schedules": "detente.schedules.base.Schedule",
    "checks": "detente.checks.base.Check",
    "signals": "detente.signals.base.Signal",
    "cures": "detente.cures.base.Cure",
    "metrics": "detente.metrics.base.Metric",
    "loggers": "detente.loggers.base.Logger",
    "executors": "detente.executors.base.Executor",
    "diagnostics": "detente.diagnostics.base.Diagnostic",
    "experiments": "detente.experiments.base.Experiment",
}
METHOD = "detente.methods.method.Method"  # what the functions of detente.methods return
CHOICES = {"games": FOLDERS["games"], "methods": METHOD} | FOLDERS  # what `detente list` names, by folder


def name_of(member: type) -> str:
    """Return the name of a member: its class name in snake case, such as `least_squares` and `adamw` (`AdamW`)."""
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z][A-Za-z0-9])", "_", member.__name__).lower()


@cache
def members(folder: str) -> dict[str, type]:
    """Return all concrete members of `folder` by name, sorted by name.

    Args:
        folder: one of `FOLDERS`.
    """
    module, _, role_name = FOLDERS[folder].rpartition(".")
    role = getattr(importlib.import_module(module), role_name)
    package = importlib.import_module(f"detente.{folder}")
    table = {}
    for info in pkgutil.walk_packages(package.__path__, f"detente.{folder}."):
        file = importlib.import_module(info.name)
        for member in vars(file).values():
            if not (issubclass(type(member), type) and issubclass(member, role)) or inspect.isabstract(member):
                continue
            if member.__module__ == file.__name__ and not member.__name__.startswith("_"):
                table[name_of(member)] = member
    return dict(sorted(table.items()))


@cache
def described(folder: str) -> dict[str, Outline]:
    """Return the outlines of all concrete members of `folder` by name, without importing them.

    Args:
        folder: one of `FOLDERS`.
    """
    described_classes = (each for module in modules(f"detente.{folder}") for each in outlines(module).values())
    fit = (each for each in described_classes if any(_is_role(kind.path, FOLDERS[folder]) for kind in each.lineage()))
    return dict(sorted((name_of(member), member) for member in fit if not member.is_abstract()))


def _is_role(path: str, role: str) -> bool:
    """Return whether a base class is a role; of `torch.nn`, which is not read, every class counts as a module."""
    return path == role or role == "torch.nn.Module" and path.startswith("torch.nn.")


@cache
def choices(folder: str) -> dict[str, Outline]:
    """Return the outlines of everything that a name in `detente list` can mean: members, and functions that make them.

    Args:
        folder: one of `CHOICES`.
    """
    if folder == "methods":
        return described_functions("detente.methods", "Method") | {"method": outline(METHOD)}
    presets = described_functions("detente.games.presets", "Game") if folder == "games" else {}
    return dict(sorted((described(folder) | presets).items()))


@cache
def described_functions(package: str, returned: str) -> dict[str, Outline]:
    """Return the outlines of the public functions of a package that return a class, by name, as `functions` does.

    Args:
        package: full name, e.g. `detente.methods`.
        returned: name of the class.
    """
    all_outlines = [each for module in modules(package) for each in outlines(module).values()]
    return dict(sorted((each.__name__, each) for each in all_outlines if each.returned() == returned))


def lookup_member(folder: str) -> Callable[[str], Any]:
    """Return a `__getattr__` for a folder's package, so that `from detente.penalties import R1` finds the class."""

    def get(name: str) -> Any:
        # Other names are files of the folder, which Python looks up in this way before it imports them.
        if name[:1].isupper():
            for member in members(folder).values():
                if member.__name__ == name:
                    return member
        raise AttributeError(f"module 'detente.{folder}' has no attribute {name!r}")

    return get


@cache
def functions(package: str, returned: type) -> dict[str, Callable[..., Any]]:
    """Return the public functions of a package whose return annotation is a given class, by name.

    Args:
        package: full name, e.g. `detente.methods`.
        returned: the class that the functions return.
    """
    table: dict[str, Callable[..., Any]] = {}
    for info in pkgutil.iter_modules(importlib.import_module(package).__path__, f"{package}."):
        file = importlib.import_module(info.name)
        for name, member in vars(file).items():
            if name.startswith("_") or not inspect.isfunction(member) or member.__module__ != file.__name__:
                continue
            if member.__annotations__.get("return") in (returned, returned.__name__):
                table[name] = member
    return dict(sorted(table.items()))


def summary(member: object) -> str:
    """Return the first line of a member's docstring."""
    return (inspect.getdoc(member) or "").partition("\n")[0]
