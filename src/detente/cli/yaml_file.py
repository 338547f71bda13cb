"""Configuration files: YAML with the options of a run, e.g. the `run.yaml` of a run directory."""

from __future__ import annotations

import codecs
import dataclasses
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import yaml

from detente.cli.imports import for_parser, hints, imported
from detente.cli.naming import Called, checked_settings, resolve, role_of, switched
from detente.errors import InvalidValue, unknown
from detente.training.run import Run

Table = Mapping[str, Callable[..., Any]]
FIELDS = tuple(field.name for field in dataclasses.fields(Run))
# What a run directory's run.yaml tells besides.
NOT_OPTIONS = ("versions", "machine", "command", "folder", "data", "code")
MARKS = (  # what a file begins with, and its encoding; UTF-32 first, since its mark begins as that of UTF-16 does
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
    (codecs.BOM_UTF8, "utf-8-sig"),
)


class Loader(yaml.SafeLoader):
    """PyYAML's safe loader, which refuses a key that stands twice in a mapping."""

    def construct_mapping(self, node: Any, deep: bool = False) -> dict:
        """Return the mapping, whose keys must differ."""
        keys: set[Any] = set()
        for key_node, _ in node.value if isinstance(node, yaml.MappingNode) else ():
            if key_node.tag == "tag:yaml.org,2002:merge":
                continue
            key = key_node.value if isinstance(key_node, yaml.ScalarNode) else None
            if key is not None and key in keys:
                raise yaml.constructor.ConstructorError(
                    None, None, f"the key {key!r} stands twice", key_node.start_mark
                )
            keys.add(key)
        return super().construct_mapping(node, deep)


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
        content = yaml.load(_text(path), Loader)
    except UnicodeDecodeError as error:
        raise InvalidValue("config", str(path), "a readable YAML file, saved as UTF-8 or UTF-16", str(error)) from error
    except (OSError, ValueError, RecursionError, yaml.YAMLError) as error:
        raise InvalidValue("config", str(path), "a readable YAML file", _reason(error)) from error
    if not isinstance(content, dict):
        found = "It is empty" if content is None else f"It is a {type(content).__name__}"
        raise InvalidValue("config", str(path), "a YAML file with option names and values", found)
    return resolved_content(content, tables, called)


def resolved_content(
    content: dict[str, Any], tables: Mapping[str, Callable[[], Table]], called: Called
) -> dict[str, Any]:
    """Return the options of a run with names resolved.

    Args:
        content: as YAML reads it.
        tables: what each of game and method may be called.
        called: gets an entry for each option whose value calls something.

    Raises:
        InvalidValue: it names what does not exist.
    """
    content = {key: value for key, value in content.items() if key not in NOT_OPTIONS and value is not None}
    for key in content:
        if key not in FIELDS:
            raise unknown("config", key, FIELDS)
        content[key] = content[key] if key in tables else switched(hints(Run)[key], content[key])
    for field, table in tables.items():
        if field in content:
            chosen = content[field] if isinstance(content[field], dict) else {"class_path": str(content[field])}
            if not isinstance(chosen.get("class_path"), str):
                raise InvalidValue(field, content[field], "a name, or a mapping with class_path and init_args")
            path = resolve(field, chosen["class_path"], table())
            called[field] = imported(path, field)
            settings = checked_settings(field, called[field], chosen.get("init_args"), called)
            path = for_parser(path, role_of(hints(Run)[field]), settings if isinstance(settings, dict) else ())
            content[field] = {**chosen, "class_path": path, **({"init_args": settings} if settings else {})}
    return content


def _text(path: Path) -> str:
    """Return a file's text, in the encoding that its first bytes say, else UTF-8."""
    raw = path.read_bytes()
    encoding = next((name for mark, name in MARKS if raw.startswith(mark)), "utf-8")
    if encoding == "utf-8" and b"\0" in raw[:4]:  # UTF-16 without its mark
        encoding = "utf-16-be" if raw[:1] == b"\0" else "utf-16-le"
    return raw.decode(encoding)


def _reason(error: BaseException) -> str:
    """Return in a line what is wrong with a file, and where."""
    mark = getattr(error, "problem_mark", None)
    if mark is not None:
        problem = str(getattr(error, "problem", None) or "it cannot be read")
        if "\\t" in problem:
            problem = "a tab; YAML is indented with spaces"
        return f"{problem} (line {mark.line + 1})"
    return getattr(error, "strerror", None) or str(error).partition("\n")[0]
