"""What can be told of a run that was built in Python: enough to know it again."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any

import torch
import yaml

from detente.deprecated import current
from detente.game import Game
from detente.state import flatten
from detente.training.run import Run


def description(run: Run) -> dict[str, Any]:
    """Return a run as nested mappings of plain values, alike for equal runs; a game is known by its numbers."""
    settings = {field.name: _plain(getattr(run, field.name)) for field in fields(run) if field.name != "game"}
    return {"game": {"class_path": _path(run.game), "fingerprint": fingerprint(run.game)}, **settings}


def recorded(directory: Path) -> dict[str, Any]:
    """Return what a run directory's run.yaml says; nothing where it cannot be read."""
    try:
        content = yaml.safe_load((directory / "run.yaml").read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError, yaml.YAMLError):
        return {}
    return _of_today(content) if isinstance(content, dict) else {}


def made_in_python(described: Mapping[str, Any]) -> bool:
    """Return whether a run's game is one that its run.yaml only describes, and words cannot make again."""
    game = described.get("game")
    if isinstance(game, str):
        return not game.replace(".", "").isidentifier()  # a name, or MODULE.NAME
    return isinstance(game, Mapping) and "fingerprint" in game


def fingerprint(game: Game) -> str:
    """Return 16 letters that stand for a game's initial parameters, its data and its losses."""
    generator = torch.Generator().manual_seed(0)
    vectors, buffers = game.initial(generator)
    batch = game.with_step(game.draw(generator), torch.zeros((), dtype=torch.int64))
    with torch.no_grad():
        losses, _ = game.losses(vectors, buffers, batch, game.players)
    leaves = flatten({"vectors": vectors, "buffers": buffers, "batch": batch})
    digest = hashlib.sha256()
    for name, tensor in sorted(leaves.items()):
        digest.update(f"{name} {tuple(tensor.shape)} ".encode())
        digest.update(tensor.cpu().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes())
    for name, loss in sorted(losses.items()):
        digest.update(f"{name} {float(loss):.5g} ".encode())  # few digits: sums may be taken in another order
    return digest.hexdigest()[:16]


def _plain(value: Any) -> Any:
    if is_dataclass(value) and not isinstance(value, type):
        return {
            "class_path": _path(value),
            "init_args": {f.name: _plain(getattr(value, f.name)) for f in fields(value)},
        }
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple | set | frozenset | range):
        return [_plain(item) for item in value]
    return value if value is None or isinstance(value, bool | int | float | str) else repr(value)


def _of_today(value: Any) -> Any:
    """Return nested mappings with today's import paths, where an earlier release wrote others."""
    if isinstance(value, dict):
        paths = {key: current(value[key]) for key in ("class_path",) if isinstance(value.get(key), str)}
        return {**{key: _of_today(item) for key, item in value.items()}, **paths}
    return [_of_today(item) for item in value] if isinstance(value, list) else value


def _path(value: object) -> str:
    return f"{type(value).__module__}.{type(value).__qualname__}"
