"""Describe a run that was built in Python, so that it is recognized when it is resumed."""

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
    """Return a run as nested mappings of plain values, equal for equal runs; a fingerprint identifies the game."""
    settings = {field.name: _plain_value(getattr(run, field.name)) for field in fields(run) if field.name != "game"}
    return {"game": {"class_path": _class_path(run.game), "fingerprint": fingerprint(run.game)}, **settings}


def read_configuration(directory: Path) -> dict[str, Any]:
    """Return the content of run.yaml in a run directory; empty if it cannot be read."""
    try:
        content = yaml.safe_load((directory / "run.yaml").read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError, yaml.YAMLError):
        return {}
    return _with_current_paths(content) if isinstance(content, dict) else {}


def built_in_python(described: Mapping[str, Any]) -> bool:
    """Return whether a run's game was built in Python, so that it cannot be rebuilt from run.yaml."""
    game = described.get("game")
    if isinstance(game, str):
        return not game.replace(".", "").isidentifier()  # not a name or MODULE.NAME
    return isinstance(game, Mapping) and "fingerprint" in game


def fingerprint(game: Game) -> str:
    """Return a hash (16 hexadecimal digits) of a game's initial parameters, data and losses."""
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
        digest.update(f"{name} {float(loss):.5g} ".encode())  # few digits, because the order of sums may differ
    return digest.hexdigest()[:16]


def _plain_value(value: Any) -> Any:
    if is_dataclass(value) and not isinstance(value, type):
        return {
            "class_path": _class_path(value),
            "init_args": {f.name: _plain_value(getattr(value, f.name)) for f in fields(value)},
        }
    if isinstance(value, torch.nn.Module):
        value = value.state_dict()
    if isinstance(value, torch.Tensor):
        return f"tensor {tuple(value.shape)} {_hash(value)}"
    if isinstance(value, Path):
        return str(value)
    if isinstance(value, Mapping):
        return {str(key): _plain_value(item) for key, item in value.items()}
    if isinstance(value, list | tuple | set | frozenset | range):
        return [_plain_value(item) for item in value]
    return value if value is None or isinstance(value, bool | int | float | str) else repr(value)


def _hash(tensor: torch.Tensor) -> str:
    with torch.no_grad():
        numbers = tensor.clone().cpu().contiguous().reshape(-1).view(torch.uint8).numpy()
    return hashlib.sha256(numbers.tobytes()).hexdigest()[:16]


def _with_current_paths(value: Any) -> Any:
    """Return nested mappings with import paths of earlier releases replaced by the current ones."""
    if isinstance(value, dict):
        paths = {key: current(value[key]) for key in ("class_path",) if isinstance(value.get(key), str)}
        return {**{key: _with_current_paths(item) for key, item in value.items()}, **paths}
    return [_with_current_paths(item) for item in value] if isinstance(value, list) else value


def _class_path(value: object) -> str:
    return f"{type(value).__module__}.{type(value).__qualname__}"
