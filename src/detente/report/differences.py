"""Which configuration keys differ between runs, as flat dotted names."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, final

ENVIRONMENT = ("versions", "machine", "command")


@final
@dataclass(frozen=True)
class Difference:
    """One dotted key and its value in every run, None where the run has no such key."""

    key: str
    values: tuple[str | None, ...]


def flattened(configuration: Mapping[str, Any], prefix: str = "") -> dict[str, str]:
    """Return ``{"method.optimizer.rate": "0.1", ...}``; a list, or an empty mapping, is one value."""
    flat: dict[str, str] = {}
    for key, value in configuration.items():
        name = f"{prefix}{key}"
        if isinstance(value, Mapping) and value:
            flat.update(flattened(value, name + "."))
        else:
            flat[name] = shown(value)
    return flat


def shown(value: object) -> str:
    """Return a configuration value as a reader would write it."""
    if isinstance(value, str):
        return value
    if isinstance(value, float):
        return f"{value:g}" if float(f"{value:g}") == value else repr(value)
    return json.dumps(value, ensure_ascii=False, default=str)


def differences(configurations: Sequence[Mapping[str, Any]]) -> list[Difference]:
    """Return the keys whose values are not the same in all runs, the environment's keys last."""
    flat = [flattened(configuration) for configuration in configurations]
    keys = list(dict.fromkeys(key for entry in flat for key in entry))
    rows = [Difference(key, tuple(entry.get(key) for entry in flat)) for key in keys]
    differing = [row for row in rows if len(set(row.values)) > 1]
    return sorted(differing, key=lambda row: row.key.split(".")[0] in ENVIRONMENT)
