"""How a set-up and its cures are written: configurations, command lines and Python lines."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from detente.cures.base import Change
from detente.cures.lines import configuration_of, python_lines


@dataclass(frozen=True)
class Description:
    """A set-up as the command line writes it.

    Args:
        content: resolved options of its run, as nested mappings.
    """

    content: Mapping[str, Any]

    def changed(self, change: Change) -> dict[str, Any]:
        """Return the options of the changed set-up."""
        content = dict(self.content)
        settings = configuration_of(change)
        if "game" in settings:
            content["game"] = {"class_path": "changed", "init_args": {"game": content["game"], **settings["game"]}}
        if "method" in settings:
            content["method"] = settings["method"]
        return content

    def command(self, change: Change, out: str) -> str:
        """Return the command line that trains the changed set-up."""
        content = self.changed(change)
        words = ["detente", "train"]
        for name in ("game", "method"):
            words += _words(f"--{name}", content[name])
        words += ["--steps", str(content["steps"]), "--seeds", *map(str, content["seeds"]), "--out", out]
        return shlex.join(words)


def _words(option: str, value: Any) -> list[str]:
    """Return an option with its settings."""
    if isinstance(value, Mapping) and "class_path" in value:
        settings = value.get("init_args") or {}
        return [option, str(value["class_path"]), *(w for k, v in settings.items() for w in _words(f"{option}.{k}", v))]
    if isinstance(value, Mapping):
        return [word for key, item in value.items() for word in _words(f"{option}.{key}", item)]
    if value is None:
        return []
    if isinstance(value, list | tuple):
        return [option, _flow(value)]
    return [option, str(value)]


def _flow(value: Any) -> str:
    """Return a value in YAML's flow style."""
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{key}: {_flow(item)}" for key, item in value.items()) + "}"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(map(_flow, value)) + "]"
    return "null" if value is None else str(value)


def lines_of(change: Change) -> str:
    """Return the Python lines of a change."""
    return python_lines(change)
