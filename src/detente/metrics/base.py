"""The base class of metrics: one number that measures a game at a state."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import MISSING, fields, is_dataclass
from typing import Any, ClassVar, Literal

from detente.arguments import Typed
from detente.game import Game
from detente.metrics.context import EvaluationContext
from detente.registry import members, name_of

Stamp = Mapping[str, str | int]


class Metric(Typed, ABC):
    """One number that measures a game at a state.

    A subclass needs `__call__` alone. It draws random numbers only from `context.generator`, changes nothing, and
    returns NaN if the number is not defined (for instance, if samples are not finite). Settings are best the fields of
    a frozen dataclass: then the record names those that differ from their defaults.

    Attributes:
        title: name in reports. Default: the name of the class in words.
        unit: unit in reports; empty if there is none.
        better: whether higher or lower values are better. With "none", runs are not ranked.
        needs: what it needs of a game, in words, for `detente list metrics`.
        routine: whether it is measured in every training that it applies to. Only members of `detente.metrics` are.
    """

    title: ClassVar[str] = ""
    unit: ClassVar[str] = ""
    better: ClassVar[Literal["higher", "lower", "none"]] = "none"
    needs: ClassVar[str] = "samples"
    routine: ClassVar[bool] = True

    @abstractmethod
    def __call__(self, context: EvaluationContext) -> float:
        """Return the number for `context`; the metric must apply to its game."""

    def applies(self, game: Game) -> bool:
        """Return whether the number is defined for `game`. By default, it is for every game."""
        del game
        return True

    def missing(self, game: Game) -> str:
        """Return in words what `game` lacks; empty if the metric applies to it."""
        return "" if self.applies(game) else f"it needs {self.needs}"

    def require_available(self) -> None:
        """Raise an error if a package or a file that the metric needs is missing. By default, it needs none."""
        return None

    def stamp(self, context: EvaluationContext) -> Stamp:
        """Return how the number is measured: values with different stamps are not comparable.

        Reports understand "extractor", "resizer", "pixels", "real" and "samples", the counts of real and generated
        samples. Default: the number of generated samples.
        """
        return {"samples": context.count}

    def __repr__(self) -> str:
        return f"{type(self).__module__}.{type(self).__qualname__}({vars(self) or ''})"


def label(metric: Metric) -> str:
    """Return the name of a metric in the record: `fid`, or `fid:real=50000` with settings other than the defaults."""
    kind = type(metric)
    name = name_of(kind)
    if members("metrics").get(name, kind) is not kind:  # a user's class with the name of a member
        name = f"{kind.__module__}.{kind.__qualname__}"
    settings = {f.name: (getattr(metric, f.name), f) for f in fields(metric) if f.init} if is_dataclass(metric) else {}
    changed = [f"{key}={value}" for key, (value, field) in settings.items() if not _is_default(value, field)]
    return f"{name}:{','.join(changed)}" if changed else name


def nonnegative(value: float) -> float:
    """Return the value, or 0 if it is negative by rounding; NaN stays NaN, whereas `max(0.0, nan)` is 0.0."""
    return 0.0 if value < 0 else value


def _is_default(value: Any, field: Any) -> bool:
    default = field.default_factory() if field.default_factory is not MISSING else field.default
    return value is default or (type(value) is type(default) and value == default)
