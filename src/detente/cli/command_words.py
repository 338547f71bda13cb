"""The words of a command line as options with their values."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import yaml

from detente.cli.naming import read


def pairs_of(words: Sequence[str], lists: tuple[str, ...]) -> list[tuple[str | None, str | None]]:
    """Return the words as options with their values: `--seeds 0 1` as one list, `--rate -1e-3` as a number."""
    pairs: list[tuple[str | None, str | None]] = []
    rest = list(words)
    while rest:
        word = rest.pop(0)
        if not word.startswith("--") or word == "--":
            pairs.append((None, word))
            continue
        option, equals, value = word[2:].partition("=")
        taken = [value] if equals else []
        while rest and not equals and not rest[0].startswith("--") and (option in lists or not taken):
            taken.append(rest.pop(0))
        listed = option in lists and not (len(taken) == 1 and taken[0].startswith("["))
        several = [read(one) if option in ("seeds", "tune") else one for one in taken]
        pairs.append((option, flow(several) if listed else taken[0] if taken else None))
    return pairs


def keys_of(option: str, pairs: Sequence[tuple]) -> list[str]:
    """Return the settings of an option's value that are given as options of their own."""
    return [
        other[len(option) + 1 :].partition(".")[0] for other, _ in pairs if other and other.startswith(f"{option}.")
    ]


def flow(value: Any) -> str:
    """Return a value as YAML in one line."""
    return yaml.safe_dump(value, default_flow_style=True, width=float("inf")).strip()
