"""Configuration keys that differ between runs, as flat dotted names."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, final

ENVIRONMENT = ("versions", "machine", "command")


@final
@dataclass(frozen=True)
class Difference:
    """A dotted key and its value in every run; None if the run does not have the key."""

    key: str
    values: tuple[str | None, ...]


def flatten(configuration: Mapping[str, Any], prefix: str = "") -> dict[str, str]:
    """Return ``{"method.optimizer.rate": "0.1", ...}``; a list, or an empty mapping, is one value."""
    flat: dict[str, str] = {}
    for key, value in configuration.items():
        name = f"{prefix}{key}"
        if isinstance(value, Mapping) and value:
            flat.update(flatten(value, name + "."))
        else:
            flat[name] = format_value(value)
    return flat


def format_value(value: object) -> str:
    """Return a configuration value as text, floats in their shortest exact form."""
    if isinstance(value, str):
        return value
    if isinstance(value, float):
        return f"{value:g}" if float(f"{value:g}") == value else repr(value)
    return json.dumps(value, ensure_ascii=False, default=str)


def differences(configurations: Sequence[Mapping[str, Any]]) -> list[Difference]:
    """Return the keys whose values are not the same in all runs, with the keys of the environment last."""
    flat = [flatten(configuration) for configuration in configurations]
    keys = list(dict.fromkeys(key for entry in flat for key in entry))
    rows = [Difference(key, tuple(entry.get(key) for entry in flat)) for key in keys]
    differing = [row for row in rows if len(set(row.values)) > 1]
    return sorted(differing, key=lambda row: row.key.split(".")[0] in ENVIRONMENT)
