"""Metrics: the quality of a game's samples or parameters, as one number."""

from detente.metrics.base import Metric as Metric
from detente.metrics.context import EvaluationContext as EvaluationContext
