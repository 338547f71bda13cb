"""What a reproducible run depends on besides its configuration: data, code of the networks, version of PyTorch."""

from __future__ import annotations

import hashlib
import inspect
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
import yaml

from detente.errors import InvalidValue
from detente.game import Game


def provenance(game: Game) -> dict[str, Any]:
    """Return hashes of a game's data and of its networks' code, for `run.yaml`; empty if the game has neither."""
    data: Any = getattr(game, "data", None)
    modules = getattr(game, "modules", None)
    origin: dict[str, Any] = {}
    if hasattr(data, "fingerprint"):
        origin["data"] = {"samples": data.size, "fingerprint": data.fingerprint()}
    if isinstance(modules, Mapping) and (code := _code_hash(modules)):
        origin["code"] = code
    return origin


def require_same(directory: Path, origin: Mapping[str, Any], changed_data: bool) -> None:
    """Raise `InvalidValue` if the data of a run have changed; warn if its code or the version of torch has changed.

    Args:
        directory: the run directory, with the recorded values in `run.yaml`.
        origin: the current values, from `provenance`.
        changed_data: accept changed data.
    """
    try:
        recorded = yaml.safe_load((directory / "run.yaml").read_text(encoding="utf-8"))
    except (OSError, ValueError, yaml.YAMLError):
        return
    if not isinstance(recorded, dict):
        return
    recorded_data, current_data = recorded.get("data"), origin.get("data")
    if isinstance(recorded_data, dict) and current_data not in (None, recorded_data) and not changed_data:
        hint = "A resumed run equals an uninterrupted one only with the same data. To continue anyway: --changed-data"
        raise InvalidValue(
            "data",
            describe_data(current_data),
            f"the data that the run was trained on, {describe_data(recorded_data)}",
            hint,
        )
    if isinstance(recorded.get("code"), str) and recorded["code"] != origin.get("code"):
        warnings.warn("the code of the networks has changed since this run was last trained", stacklevel=2)
    version = (recorded.get("versions") or {}).get("torch")
    if version not in (None, str(torch.__version__)):
        text = f"the run was trained with torch {version}; results with {torch.__version__} are not bitwise equal"
        warnings.warn(text, stacklevel=2)


def describe_data(data: Mapping[str, Any]) -> str:
    """Return the size and the fingerprint of data as text."""
    count = data.get("samples")
    return f"{'unlimited samples' if count is None else f'{count} samples'} (fingerprint {data.get('fingerprint')})"


def _code_hash(modules: Mapping[str, torch.nn.Module]) -> str:
    """Return a hash of the source of all layer classes that are not torch's or détente's; empty if there are none."""
    classes = {type(layer) for module in modules.values() for layer in module.modules()}
    user_classes = [cls for cls in classes if cls.__module__.partition(".")[0] not in ("torch", "detente")]
    sources = []
    for cls in user_classes:
        try:
            sources.append(inspect.getsource(cls))
        except (OSError, TypeError):  # defined without a file, e.g. in a notebook
            continue
    return hashlib.sha256("".join(sorted(sources)).encode()).hexdigest()[:16] if sources else ""
