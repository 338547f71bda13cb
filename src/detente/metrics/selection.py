"""Metrics from the names, import paths or objects that a user passes."""

from __future__ import annotations

import inspect
from collections.abc import Iterable
from typing import Any

import yaml

from detente.errors import InvalidValue, require, unknown
from detente.metrics.base import Metric, label
from detente.metrics.features.named import imported
from detente.registry import members

FORMS = (
    "names from `detente list metrics`, NAME:KEY=VALUE,…, MODULE.NAME of your own, or objects of detente.metrics.Metric"
)


def metrics_by_label(requested: Iterable[str | Metric] | str | Metric) -> dict[str, Metric]:
    """Return metrics by their names in the record.

    Args:
        requested: names, such as "fid" or "fid:real=50000"; import paths, such as "my_module.MyMetric"; or objects.

    Raises:
        InvalidValue: a name or a setting does not exist, an import fails, or two metrics have the same name.
    """
    items = [requested] if isinstance(requested, str | Metric) else list(requested)
    metrics: dict[str, Metric] = {}
    for metric in map(_as_metric, items):
        name = label(metric)
        require(name not in metrics or metrics[name] is metric, "metrics", name, "each metric once")
        metrics[name] = metric
    return metrics


def _as_metric(item: Any) -> Metric:
    if isinstance(item, Metric):
        return item
    if inspect.isclass(item) and issubclass(item, Metric):
        return _called(item, {}, item.__name__)
    if not isinstance(item, str):
        raise InvalidValue("metrics", item, FORMS)
    name, _, settings = item.partition(":")
    known = members("metrics")
    if name not in known and "." not in name.strip("."):
        raise unknown("metrics", name, known)
    target = known[name] if name in known else imported(name, "metrics")
    if isinstance(target, Metric):
        require(not settings, "metrics", item, f"{name} without settings, since it is an object")
        return target
    return _called(target, _settings(item, settings, target), name)


def _settings(item: str, text: str, target: Any) -> dict[str, Any]:
    """Return settings such as `real=50000,weights=file` by name, with values as YAML reads them."""
    settings: dict[str, Any] = {}
    known = list(inspect.signature(target).parameters) if callable(target) else []
    for part in filter(None, text.split(",")):
        key, equals, value = part.partition("=")
        require(bool(equals), "metrics", item, "NAME or NAME:KEY=VALUE,KEY=VALUE")
        if key not in known:
            raise unknown(f"metrics: {item.partition(':')[0]}", key, known)
        try:
            settings[key] = yaml.safe_load(value)
        except yaml.YAMLError:
            settings[key] = value
    return settings


def _called(target: Any, settings: dict[str, Any], name: str) -> Metric:
    try:
        metric = target(**settings)
    except InvalidValue as error:
        raise InvalidValue(f"metrics: {name}.{error.field}", error.value, error.allowed, error.hint) from error
    except Exception as error:  # a user's own class may raise anything
        reason = f"{type(error).__name__}: {' '.join(str(error).split())}"[:200]
        raise InvalidValue("metrics", name, FORMS, reason) from error
    require(isinstance(metric, Metric), "metrics", name, "a subclass of detente.metrics.Metric, or an object of one")
    return metric
