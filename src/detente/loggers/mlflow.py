"""MLflow."""

from __future__ import annotations

import importlib
import os
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from detente.loggers.base import LoggedRun, Logger, Session

LONGEST_PARAMETER, BATCH = 500, 100  # MLflow's limits: characters of a value in older stores, parameters in a request


@dataclass(frozen=True)
class MLflow(Logger):
    """MLflow: one of its runs for each run directory, with all seeds. A resumed run continues there.

    It uses no active run of MLflow's global state, so your own runs stay as they are.

    Args:
        experiment: name of the experiment, which is created if needed. Default: $MLFLOW_EXPERIMENT_NAME, otherwise
            "detente".
        tracking_uri: address of the server or store. Default: as set by `mlflow.set_tracking_uri` or
            $MLFLOW_TRACKING_URI, otherwise MLflow's own default.
        name: name of the run. Default: the name of the run directory.

    Source: mlflow.MlflowClient (mlflow.org/docs).
    """

    package = "mlflow"
    extra = "mlflow"

    experiment: str | None = None
    tracking_uri: str | None = None
    name: str | None = None

    def open(self, run: LoggedRun) -> Session:
        mlflow = importlib.import_module("mlflow")
        client = mlflow.MlflowClient(self.tracking_uri)
        if (identifier := run.identifier("mlflow")) is None:
            name = self.experiment or os.environ.get("MLFLOW_EXPERIMENT_NAME") or "detente"
            existing = client.get_experiment_by_name(name)
            experiment = client.create_experiment(name) if existing is None else existing.experiment_id
            identifier = client.create_run(experiment, run_name=self.name or run.name).info.run_id
            parameters = [
                mlflow.entities.Param(key, str(value)[:LONGEST_PARAMETER]) for key, value in _leaves(run.configuration)
            ]
            for start in range(0, len(parameters), BATCH):
                client.log_batch(identifier, params=parameters[start : start + BATCH])
            run.remember("mlflow", identifier)
        else:
            client.update_run(identifier, status="RUNNING")
        return _MLflowSession(client, identifier, mlflow.entities.Metric)


class _MLflowSession(Session):
    def __init__(self, client: Any, identifier: str, metric: Any) -> None:
        self.client, self.identifier, self.metric = client, identifier, metric

    def numbers(self, step: int, values: Mapping[str, float]) -> None:
        now = int(time.time() * 1000)
        self.client.log_batch(self.identifier, [self.metric(name, value, now, step) for name, value in values.items()])

    def picture(self, step: int, name: str, pixels: np.ndarray) -> None:
        squeezed = pixels[:, :, 0] if pixels.shape[2] == 1 else pixels
        self.client.log_image(self.identifier, squeezed, artifact_file=f"{name}-step{step:08d}.png")

    def close(self, finished: bool) -> None:
        self.client.set_terminated(self.identifier, "FINISHED" if finished else "KILLED")


def _leaves(configuration: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Yield the values of nested mappings with their paths, joined with dots."""
    for key, value in configuration.items():
        if isinstance(value, Mapping):
            yield from _leaves(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value
