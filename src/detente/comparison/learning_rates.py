"""Learning rates of a method: read where they act, and multiplied where its configuration says them."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import fields, is_dataclass
from typing import Any

import torch

from detente.methods.method import Method
from detente.optimizers.base import Optimizer
from detente.schedule import Schedule, value

SCHEDULED = ("start", "end")  # the numbers of a schedule that are rates
RATE = re.compile(r"(?:.*_)?(?:learning|generator|discriminator|critic)_rate")  # as methods call their settings


def rates(method: Method) -> list[float]:
    """Return the optimizers' learning rates at the first step, player by player."""
    built = method.optimizer
    optimizers = [built] if isinstance(built, Optimizer) else built.values() if isinstance(built, Mapping) else built
    return [rate for optimizer in optimizers for rate in _rates(optimizer)]


def scaled(method: Mapping[str, Any], factor: float, reference: float) -> dict[str, Any]:
    """Return a method's configuration with every learning rate multiplied.

    Args:
        method: nested, as in `run.yaml`: `class_path` and `init_args`.
        factor: of each rate that is named, > 0; of a schedule, its start and end.
        reference: the rate that stands for one not named: a method's own default.
    """
    settings = dict(method.get("init_args") or {})
    named = isinstance(settings.get("optimizer", ""), str)  # an optimizer that was built has its own rate
    for key, setting in settings.items():
        if key == "learning_rate" and setting is None:
            settings[key] = _short(factor * reference) if named else None
        elif RATE.fullmatch(key):
            settings[key] = _times(setting, factor)
        elif key.endswith("optimizer"):
            settings[key] = _inside(setting, factor)
    return {**method, "init_args": settings}


def follow(before: Sequence[float], after: Sequence[float], factor: float) -> bool:
    """Return whether rates went with a factor: each from where it was, or to one for all, the first one's multiple."""
    if not before or not after:
        return False

    def is_close(expected: Sequence[float]) -> bool:
        return all(math.isclose(*pair, rel_tol=1e-4) for pair in zip(after, expected, strict=True))

    each = len(before) == len(after) and is_close([factor * rate for rate in before])
    return each or is_close([factor * before[0]] * len(after))


def _rates(optimizer: Optimizer) -> Iterator[float]:
    for field in fields(optimizer) if is_dataclass(optimizer) else ():
        setting = getattr(optimizer, field.name)
        if isinstance(setting, Optimizer):
            yield from _rates(setting)
        elif RATE.fullmatch(field.name) and isinstance(setting, float | int | Schedule):
            yield float(value(setting, torch.zeros((), dtype=torch.int64)))


def _times(setting: Any, factor: float) -> Any:
    if isinstance(setting, Mapping):
        if "class_path" not in setting:  # a rate for each player
            return {player: _times(rate, factor) for player, rate in setting.items()}
        inside = setting.get("init_args") or {}
        return {**setting, "init_args": {k: _times(v, factor) if k in SCHEDULED else v for k, v in inside.items()}}
    if isinstance(setting, list | tuple):  # a rate for each player, in the game's order
        return [_times(rate, factor) for rate in setting]
    return _short(factor * setting) if isinstance(setting, float | int) and not isinstance(setting, bool) else setting


def _inside(optimizer: Any, factor: float) -> Any:
    """Return an optimizer's configuration, or one for each player, or one around another, with its rates multiplied."""
    if isinstance(optimizer, Mapping):
        return {key: _times(v, factor) if RATE.fullmatch(key) else _inside(v, factor) for key, v in optimizer.items()}
    return [_inside(inner, factor) for inner in optimizer] if isinstance(optimizer, list) else optimizer


def _short(number: float) -> float:
    """Return 3e-4 for 3 times 1e-4, which is 0.00030000000000000003."""
    return float(f"{number:.6g}")
