"""One file for each set-up; `case` returns a module by its short name, such as "f04"."""

from __future__ import annotations

import importlib
import pkgutil
from types import ModuleType

FILES = tuple(sorted(module.name for module in pkgutil.iter_modules(__path__)))


def names() -> list[str]:
    """Return the short names of all cases: f01, …, o6."""
    return [file.partition("_")[0] for file in FILES]


def case(name: str) -> ModuleType:
    """Return the module of a case, from its short name or the name of its file."""
    files = [file for file in FILES if name in (file, file.partition("_")[0])]
    if not files:
        raise SystemExit(f"case: {name}: one of {', '.join(names())}")
    return importlib.import_module(f"{__name__}.{files[0]}")
