"""YAML files with the options of a run, e.g. the `run.yaml` of a run directory, and YAML values of single options."""

from __future__ import annotations

import codecs
import dataclasses
import json
from pathlib import Path
from typing import Any

import yaml

from detente.errors import InvalidValue, unknown
from detente.training.run import Run
from detente.training.run_directory.status import NOT_OPTIONS

FIELDS = tuple(field.name for field in dataclasses.fields(Run))
MARKS = (  # byte order marks; UTF-32 first, since its mark begins as that of UTF-16 does
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
    (codecs.BOM_UTF8, "utf-8-sig"),
)


class Loader(yaml.SafeLoader):
    """PyYAML's safe loader, which refuses a key that occurs twice in a mapping."""

    def construct_mapping(self, node: Any, deep: bool = False) -> dict:
        """Return the mapping, whose keys must differ."""
        nodes = [key for key, _ in node.value] if isinstance(node, yaml.MappingNode) else []
        seen: set[Any] = set()
        for key in nodes:
            if isinstance(key, yaml.ScalarNode) and key.tag != "tag:yaml.org,2002:merge":
                if key.value in seen:
                    problem = f"the key {key.value!r} occurs twice"
                    raise yaml.constructor.ConstructorError(None, None, problem, key.start_mark)
                seen.add(key.value)
        return super().construct_mapping(node, deep)


def read(text: str) -> Any:
    """Return a word of the command line as YAML reads it, or the word itself where YAML cannot."""
    try:
        return None if text == "None" else _finite(yaml.load(text, Loader))
    except Exception:  # PyYAML raises more than its own errors
        return str(text)


def read_yaml(path: Path) -> dict[str, Any]:
    """Return the options of a run that a file holds.

    Raises:
        InvalidValue: it cannot be read, is no mapping, or has a key that is no option.
    """
    try:
        content = _finite(yaml.load(_text(path), Loader))
    except UnicodeDecodeError as error:
        raise InvalidValue("config", str(path), "a readable YAML file, saved as UTF-8 or UTF-16", str(error)) from error
    except (OSError, ValueError, RecursionError, yaml.YAMLError) as error:
        raise InvalidValue("config", str(path), "a readable YAML file", _problem(error)) from error
    if not isinstance(content, dict):
        problem = "It is empty" if content is None else f"It is a {type(content).__name__}"
        raise InvalidValue("config", str(path), "a YAML file with option names and values", problem)
    return options_of(content)


def options_of(content: dict[str, Any]) -> dict[str, Any]:
    """Return the options of a run that are set in a file's content.

    Raises:
        InvalidValue: a key that is no option.
    """
    options = {key: value for key, value in content.items() if key not in NOT_OPTIONS and value is not None}
    for key in options:
        if key not in FIELDS:
            raise unknown("config", key, FIELDS)
    return options


def _finite(value: Any) -> Any:
    """Return a value after a check that it does not contain itself, as YAML's `&a [*a]` does."""
    json.dumps(value, skipkeys=True, default=str)
    return value


def _text(path: Path) -> str:
    """Return a file's text in the encoding of its byte order mark, otherwise UTF-8."""
    raw = path.read_bytes()
    encoding = next((name for mark, name in MARKS if raw.startswith(mark)), "utf-8")
    if encoding == "utf-8" and b"\0" in raw[:4]:  # UTF-16 without its mark
        encoding = "utf-16-be" if raw[:1] == b"\0" else "utf-16-le"
    return raw.decode(encoding)


def _problem(error: BaseException) -> str:
    """Return in one line what is wrong with a file, and where."""
    mark = getattr(error, "problem_mark", None)
    if mark is not None:
        problem = str(getattr(error, "problem", None) or "it cannot be read")
        problem = "a tab; YAML is indented with spaces" if "\\t" in problem else problem
        return f"{problem} (line {mark.line + 1})"
    return getattr(error, "strerror", None) or str(error).partition("\n")[0]
