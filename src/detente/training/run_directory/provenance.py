"""What a run's exactness rests on beside its configuration: the data, the code of the networks, PyTorch's version."""

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
    """Return for `run.yaml` what data a game has, and which code its networks are: nothing where it has none."""
    data: Any = getattr(game, "data", None)
    modules = getattr(game, "modules", None)
    origin: dict[str, Any] = {}
    if hasattr(data, "fingerprint"):
        origin["data"] = {"samples": data.size, "fingerprint": data.fingerprint()}
    if isinstance(modules, Mapping) and (code := _code(modules)):
        origin["code"] = code
    return origin


def require_same(directory: Path, origin: Mapping[str, Any], changed_data: bool) -> None:
    """Raise `InvalidValue` where a run would go on with other data; warn where its code or torch are others.

    Args:
        directory: the run's, whose `run.yaml` tells how it was.
        origin: how it is now, as `provenance` returns it.
        changed_data: other data are meant.
    """
    try:
        recorded = yaml.safe_load((directory / "run.yaml").read_text(encoding="utf-8"))
    except (OSError, ValueError, yaml.YAMLError):
        return
    if not isinstance(recorded, dict):
        return
    before, now = recorded.get("data"), origin.get("data")
    if isinstance(before, dict) and now is not None and before != now and not changed_data:
        hint = "A resumed run ends as an undisturbed one only with the same data. To go on all the same: --changed-data"
        raise InvalidValue("data", _described(now), f"the data that the run was trained on, {_described(before)}", hint)
    if isinstance(recorded.get("code"), str) and recorded["code"] != origin.get("code"):
        warnings.warn("the code of the networks has changed since this run was last trained", stacklevel=2)
    version = (recorded.get("versions") or {}).get("torch")
    if version not in (None, str(torch.__version__)):
        text = (
            f"this run was trained with torch {version}, and goes on with {torch.__version__}: not bit for bit the same"
        )
        warnings.warn(text, stacklevel=2)


def _described(data: Mapping[str, Any]) -> str:
    count = data.get("samples")
    return f"{'samples without end' if count is None else f'{count} samples'} (fingerprint {data.get('fingerprint')})"


def _code(modules: Mapping[str, torch.nn.Module]) -> str:
    """Return a hash of the source of all classes of layers but torch's and ours; empty where there is none."""
    kinds = {type(part) for module in modules.values() for part in module.modules()}
    foreign = [kind for kind in kinds if kind.__module__.partition(".")[0] not in ("torch", "detente")]
    sources = []
    for kind in foreign:
        try:
            sources.append(inspect.getsource(kind))
        except (OSError, TypeError):  # defined where there is no file, as in a notebook
            continue
    return hashlib.sha256("".join(sorted(sources)).encode()).hexdigest()[:16] if sources else ""
