"""Members of a folder, found by looking: a member is a public class of its role, defined in a file of that folder."""

from __future__ import annotations

import importlib
import inspect
import pkgutil
import re
from functools import cache

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
    "metrics": "detente.metrics.base.Metric",
    "experiments": "detente.experiments.base.Experiment",
}


def name_of(member: type) -> str:
    """Return the name by which a member is asked for: its class in snake case (`LeastSquares` → `least_squares`)."""
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", member.__name__).lower()


@cache
def members(folder: str) -> dict[str, type]:
    """Return every concrete member of `folder` by name, in the order of the names.

    Args:
        folder: one of `FOLDERS`.
    """
    module, _, role_name = FOLDERS[folder].rpartition(".")
    role = getattr(importlib.import_module(module), role_name)
    package = importlib.import_module(f"detente.{folder}")
    found = {}
    for info in pkgutil.iter_modules(package.__path__):
        file = importlib.import_module(f"detente.{folder}.{info.name}")
        for member in vars(file).values():
            if not (inspect.isclass(member) and issubclass(member, role)) or inspect.isabstract(member):
                continue
            if member.__module__ == file.__name__ and not member.__name__.startswith("_"):
                found[name_of(member)] = member
    return dict(sorted(found.items()))


def summary(member: object) -> str:
    """Return the first line of a member's docstring."""
    return (inspect.getdoc(member) or "").partition("\n")[0]
