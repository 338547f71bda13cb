"""The refusals that tests expect: which method cannot be played on which game, and the text of the error.

`python -m tests.refusals` writes refusals.yaml anew from what the methods refuse now. Use it when a method, a game or
an error's text is new, and read the difference before you commit it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from importlib import import_module
from pathlib import Path
from typing import Any

import yaml

from detente.errors import InvalidValue
from detente.game import Game
from detente.methods.method import Method

FILE = Path(__file__).with_suffix(".yaml")
HEAD = "# By test module and game: the error, and the methods that raise it. Written by: python -m tests.refusals\n"
MODULES = ("tests.test_contracts", "tests.test_stepper", "tests.training.test_device", "tests.training.test_settings")
Refusals = dict[tuple[str, str], str]  # game and method: the text of the error


def refusal(build: Callable[[], object]) -> str:
    """Return the text of the `InvalidValue` that `build` raises, or an empty string."""
    try:
        build()
    except InvalidValue as error:
        assert error.field and error.allowed
        return str(error)
    return ""


def refusals(
    pairs: Iterable[tuple[str, str]], games: Mapping[str, Callable[[], Game]], methods: Mapping[str, Method]
) -> Refusals:
    """Return the errors of the pairs of game and method that do not fit."""
    built = {name: make() for name, make in games.items()}
    errors = {(g, m): refusal(lambda g=g, m=m: methods[m].check(built[g])) for g, m in pairs}
    return {pair: error for pair, error in errors.items() if error}


def expected(module: str) -> Refusals:
    """Return the refusals that refusals.yaml holds for a test module."""
    games = yaml.safe_load(FILE.read_text(encoding="utf-8"))[module]
    return {
        (game, method): entry["error"]
        for game, entries in games.items()
        for entry in entries
        for method in entry["methods"]
    }


def write() -> None:
    """Write refusals.yaml from what each test module's `find_refusals` returns."""
    table: dict[str, dict[str, list[dict[str, Any]]]] = {}
    for module in MODULES:
        games = table.setdefault(module, {})
        for (game, method), error in sorted(import_module(module).find_refusals().items()):
            entries = games.setdefault(game, [])
            entry = next((entry for entry in entries if entry["error"] == error), None)
            if entry is None:
                entries.append({"error": error, "methods": [method]})
            else:
                entry["methods"].append(method)
    FILE.write_text(HEAD + yaml.safe_dump(table, sort_keys=False, width=118, allow_unicode=True), encoding="utf-8")


if __name__ == "__main__":
    write()
