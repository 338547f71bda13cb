"""Learning rates of a method: read from its optimizers, and scaled in its configuration."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import fields, is_dataclass
from typing import Any

import torch

from detente.methods.method import Method
from detente.optimizers.base import Optimizer
from detente.schedules.base import Schedule, value

SCHEDULED = ("start", "end")  # fields of these schedules that are rates
FROM_START = ("linear", "cosine", "exponential", "step", "polynomial")
PRODUCT = "detente.schedules.combined.Product"
RATE = re.compile(r"(?:.*_)?(?:learning|generator|discriminator|critic)_rate|lr")  # names of settings of methods


def rates(method: Method) -> list[float]:
    """Return the learning rates of the optimizers at the first step, in the order of the players."""
    optimizers = method.optimizer
    if isinstance(optimizers, Optimizer):
        optimizers = [optimizers]
    elif isinstance(optimizers, Mapping):
        optimizers = optimizers.values()
    return [rate for optimizer in optimizers for rate in _optimizer_rates(optimizer)]


def scale_rates(method: Mapping[str, Any], factor: float, reference: float) -> dict[str, Any]:
    """Return a method's configuration with every learning rate multiplied by a factor.

    Args:
        method: nested configuration as in `run.yaml`, with `class_path` and `init_args`.
        factor: multiplier of each explicit rate, > 0; of a schedule, its start and end are multiplied, or its product
            with the factor is used.
        reference: the method's default rate, used where the configuration has none.
    """
    settings = dict(method.get("init_args") or {})
    has_named_optimizer = isinstance(settings.get("optimizer", ""), str)  # a nested optimizer has its own rate
    for key, setting in settings.items():
        if key == "learning_rate" and setting is None:
            settings[key] = _round(factor * reference) if has_named_optimizer else None
        elif RATE.fullmatch(key):
            settings[key] = _multiply(setting, factor)
        elif key.endswith("optimizer"):
            settings[key] = _scale_optimizer(setting, factor)
    return {**method, "init_args": settings}


def rates_match(before: Sequence[float], after: Sequence[float], factor: float) -> bool:
    """Return whether each rate was multiplied by `factor`, or all rates are now `factor` times the first rate."""
    if not before or not after:
        return False

    def is_close(expected: Sequence[float]) -> bool:
        return all(math.isclose(*pair, rel_tol=1e-4) for pair in zip(after, expected, strict=True))

    each_scaled = len(before) == len(after) and is_close([factor * rate for rate in before])
    return each_scaled or is_close([factor * before[0]] * len(after))


def _optimizer_rates(optimizer: Optimizer) -> Iterator[float]:
    named = (
        {field.name: getattr(optimizer, field.name) for field in fields(optimizer)} if is_dataclass(optimizer) else {}
    )
    for name, setting in {**named, **named.get("settings", {})}.items():  # of a torch.optim.Optimizer
        if isinstance(setting, Optimizer):
            yield from _optimizer_rates(setting)
        elif RATE.fullmatch(name) and isinstance(setting, float | int | Schedule):
            yield float(value(setting, torch.zeros((), dtype=torch.int64)))


def _multiply(setting: Any, factor: float) -> Any:
    if isinstance(setting, Mapping):
        if "class_path" not in setting:  # a rate for each player
            return {player: _multiply(rate, factor) for player, rate in setting.items()}
        if str(setting["class_path"]).rpartition(".")[2].lower() not in FROM_START:
            return {"class_path": PRODUCT, "init_args": {"first": dict(setting), "second": factor}}
        arguments = setting.get("init_args") or {}
        return {
            **setting,
            "init_args": {k: _multiply(v, factor) if k in SCHEDULED else v for k, v in arguments.items()},
        }
    if isinstance(setting, list | tuple):  # a rate for each player, in the game's order
        return [_multiply(rate, factor) for rate in setting]
    return _round(factor * setting) if isinstance(setting, float | int) and not isinstance(setting, bool) else setting


def _scale_optimizer(optimizer: Any, factor: float) -> Any:
    """Return a configuration of optimizers, which may be nested or given by player, with its rates multiplied."""
    if isinstance(optimizer, Mapping):
        return {
            key: _multiply(v, factor) if RATE.fullmatch(key) else _scale_optimizer(v, factor)
            for key, v in optimizer.items()
        }
    return [_scale_optimizer(inner, factor) for inner in optimizer] if isinstance(optimizer, list) else optimizer


def _round(number: float) -> float:
    """Round to 6 digits, so that 3 × 1e-4 is 0.0003 and not 0.00030000000000000003."""
    return float(f"{number:.6g}")
