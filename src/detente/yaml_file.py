"""Configuration files: YAML with the options of a run, e.g. the `run.yaml` of a run directory."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import yaml

from detente.errors import InvalidValue, unknown
from detente.naming import Called, checked_settings, imported, resolve
from detente.training.run import Run

Table = Mapping[str, Callable[..., Any]]
FIELDS = tuple(field.name for field in dataclasses.fields(Run))
NOT_OPTIONS = ("versions", "machine", "command", "data", "code")  # what a run directory's run.yaml tells besides


def read_yaml(path: Path, tables: Mapping[str, Callable[[], Table]], called: Called) -> dict[str, Any]:
    """Return a configuration file's content with names resolved.

    Args:
        path: the file.
        tables: what each of game and method may be called.
        called: gets an entry for each option whose value calls something.

    Raises:
        InvalidValue: it cannot be read, is no mapping, or names what does not exist.
    """
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError, yaml.YAMLError) as error:
        reason = getattr(error, "strerror", None) or str(error).partition("\n")[0]
        raise InvalidValue("config", str(path), "a readable YAML file", reason) from error
    if not isinstance(content, dict):
        raise InvalidValue("config", str(path), "a YAML file with option names and values")
    content = {key: value for key, value in content.items() if key not in NOT_OPTIONS and value is not None}
    for key in content:
        if key not in FIELDS:
            raise unknown("config", key, FIELDS)
    for field, table in tables.items():
        if field in content:
            chosen = content[field] if isinstance(content[field], dict) else {"class_path": str(content[field])}
            if not isinstance(chosen.get("class_path"), str):
                raise InvalidValue(field, content[field], "a name, or a mapping with class_path and init_args")
            path_of = resolve(field, chosen["class_path"], table())
            called[field] = imported(path_of, field)
            settings = checked_settings(field, called[field], chosen.get("init_args"), called)
            content[field] = {**chosen, "class_path": path_of, **({"init_args": settings} if settings else {})}
    return content
