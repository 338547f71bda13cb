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
    given = method.optimizer
    optimizers = [given] if isinstance(given, Optimizer) else given.values() if isinstance(given, Mapping) else given
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
    for key, given in settings.items():
        if key == "learning_rate" and given is None:
            settings[key] = _short(factor * reference) if named else None
        elif RATE.fullmatch(key):
            settings[key] = _times(given, factor)
        elif key.endswith("optimizer"):
            settings[key] = _inside(given, factor)
    return {**method, "init_args": settings}


def follow(before: Sequence[float], after: Sequence[float], factor: float) -> bool:
    """Return whether rates went with a factor: each from where it was, or to one for all, the first one's multiple."""
    if not before or not after:
        return False

    def near(expected: Sequence[float]) -> bool:
        return all(math.isclose(*pair, rel_tol=1e-4) for pair in zip(after, expected, strict=True))

    each = len(before) == len(after) and near([factor * rate for rate in before])
    return each or near([factor * before[0]] * len(after))


def _rates(optimizer: Optimizer) -> Iterator[float]:
    for field in fields(optimizer) if is_dataclass(optimizer) else ():
        given = getattr(optimizer, field.name)
        if isinstance(given, Optimizer):
            yield from _rates(given)
        elif RATE.fullmatch(field.name) and isinstance(given, float | int | Schedule):
            yield float(value(given, torch.zeros((), dtype=torch.int64)))


def _times(given: Any, factor: float) -> Any:
    if isinstance(given, Mapping):
        if "class_path" not in given:  # a rate for each player
            return {player: _times(rate, factor) for player, rate in given.items()}
        inside = given.get("init_args") or {}
        return {**given, "init_args": {k: _times(v, factor) if k in SCHEDULED else v for k, v in inside.items()}}
    if isinstance(given, list | tuple):  # a rate for each player, in the game's order
        return [_times(rate, factor) for rate in given]
    return _short(factor * given) if isinstance(given, float | int) and not isinstance(given, bool) else given


def _inside(given: Any, factor: float) -> Any:
    """Return an optimizer's configuration, or one for each player, or one around another, with its rates multiplied."""
    if isinstance(given, Mapping):
        return {key: _times(v, factor) if RATE.fullmatch(key) else _inside(v, factor) for key, v in given.items()}
    return [_inside(one, factor) for one in given] if isinstance(given, list) else given


def _short(number: float) -> float:
    """Return 3e-4 for 3 times 1e-4, which is 0.00030000000000000003."""
    return float(f"{number:.6g}")
