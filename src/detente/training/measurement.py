"""Measurements of metrics: they change nothing and never end a training."""

from __future__ import annotations

import contextlib
import math
import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field

import torch

from detente.errors import InvalidValue
from detente.game import Game
from detente.metrics.base import Metric, Stamp
from detente.metrics.context import EvaluationContext

MEASUREMENT_SEED = 20_170_602  # offset of the seeds of measurements, so that they differ from those of training


@dataclass(frozen=True)
class Score:
    """The value of a metric.

    Args:
        value: the number; NaN if it is not defined.
        stamp: how it was measured; values with different stamps are not comparable.
        problem: why it could not be measured; empty if it was.
    """

    value: float
    stamp: Stamp = field(default_factory=dict)
    problem: str = ""


def measurement_generator(seed: int) -> torch.Generator:
    """Return the generator for the measurements of one seed of a run.

    It is the same at every step, so metrics change because the generator changes, not because of other latents.
    """
    return torch.Generator().manual_seed(MEASUREMENT_SEED + seed)


def select_applicable(metrics: Mapping[str, Metric], game: Game) -> tuple[dict[str, Metric], dict[str, str]]:
    """Return the metrics that apply to a game, and why the others do not, by name."""
    reasons: dict[str, str] = {}
    for name, metric in metrics.items():
        try:
            reasons[name] = metric.missing(game)
        except Exception as error:  # a user's metric may raise anything
            reasons[name] = describe(error)
    return {n: m for n, m in metrics.items() if not reasons[n]}, {n: text for n, text in reasons.items() if text}


def require_available(metrics: Mapping[str, Metric], game: Game) -> None:
    """Raise `InvalidValue` if a package or file is missing that a metric needs which applies to the game."""
    for name, metric in select_applicable(metrics, game)[0].items():
        try:
            metric.require_available()
        except InvalidValue as error:
            raise InvalidValue("metrics", name, error.allowed, error.hint or f"{error.field}: {error.value}") from error


def measure(metrics: Mapping[str, Metric], context: EvaluationContext) -> dict[str, Score]:
    """Return the score of every metric by name. One that fails is NaN, with a warning in one line.

    Every metric finds the same samples and the same random numbers, whichever others are measured.

    Raises:
        InvalidValue: a metric changed samples or parameters in place.
    """
    with contextlib.suppress(Exception):  # raised again, and reported, for each metric that needs samples
        _ = context.samples if metrics and hasattr(context.game, "sample") else None
    random, scores = context.generator.get_state(), {}
    for name, metric in metrics.items():
        context.generator.set_state(random)
        before = _versions(context)
        scores[name] = _score(name, metric, context)
        allowed = "a metric that changes neither samples nor parameters in place"
        if _versions(context) != before:
            raise InvalidValue("metrics", name, allowed, "Let it work on a copy, such as context.samples.clone()")
    return scores


def _score(name: str, metric: Metric, context: EvaluationContext) -> Score:
    try:
        with torch.no_grad():  # a user's metric may call modules
            return Score(float(metric(context)), metric.stamp(context))
    except Exception as error:  # a user's metric may raise anything
        problem = describe(error)
        warnings.warn(f"{name} was not measured: {problem}", stacklevel=2)
        return Score(math.nan, problem=problem)


def describe(error: Exception) -> str:
    """Return an error in one line."""
    text = " ".join(str(error).split())[:300]
    return text if isinstance(error, InvalidValue) else f"{type(error).__name__}: {text}"


def _versions(context: EvaluationContext) -> list[int]:
    """Return how often the samples and the parameters were changed in place."""
    state = context.state
    tensors = [*state.vectors.values(), *(buffer for named in state.buffers.values() for buffer in named.values())]
    samples = vars(context).get("samples")
    tensors += [] if samples is None else [samples]
    return [tensor._version for tensor in tensors if not tensor.is_inference()]
