"""Measurements at given steps of a training, cached in files so that each step is measured only once."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from detente.experiments.base import Track
from detente.experiments.support.resumable_training import TrainingResult, train_or_resume
from detente.metrics.base import Metric
from detente.metrics.context import EvaluationContext
from detente.schemes.pairs import locals_of
from detente.schemes.sgan import Sgan
from detente.state import State
from detente.training.run import Run

Evaluate = Callable[[EvaluationContext], Mapping[str, Any]]
Measurements = dict[str, np.ndarray]
RECORDS = 20  # lines in metrics.jsonl, unless the run sets `record_every`


def evaluate_at_steps(
    run: Run, directory: Path, steps: Sequence[int], evaluate: Evaluate, samples: int, track: Track
) -> dict[int, Measurements]:
    """Train to each step in turn, and return the measurements of `evaluate` there.

    Args:
        run: the training; its number of steps is replaced by `steps`.
        directory: where the run and the measurements are written.
        steps: when to measure, ≥ 1, ascending.
        evaluate: returns numbers and arrays by name.
        samples: number of samples in each evaluation.
        track: shows progress.

    Returns:
        For each step: the measurements, (seeds, pairs, …); with SGAN the global pair comes first, otherwise there is
        one pair.
    """
    by_step = {}
    directory.mkdir(parents=True, exist_ok=True)
    for step in steps:
        path = directory / f"seen-{step}.npz"
        if not path.exists():
            training = train_to_step(run, directory, step, max(steps), track)
            per_seed = [_evaluate_pairs(run, training.states[seed], seed, evaluate, samples) for seed in run.seeds]
            _write(path, {name: np.array([measurements[name] for measurements in per_seed]) for name in per_seed[0]})
        with np.load(path) as file:
            by_step[step] = {name: file[name] for name in file.files}
    return by_step


def train_to_step(run: Run, directory: Path, step: int, total_steps: int, track: Track) -> TrainingResult:
    """Return a training of `total_steps` steps up to `step`, in the run directory that `evaluate_at_steps` uses."""
    record_every = run.record_every or -(-total_steps // RECORDS)
    # Metrics and checkpoints are only needed where a part ends.
    run_to_step = replace(
        run, steps=step, record_every=record_every, measure_every=total_steps, checkpoint_every=total_steps
    )
    return train_or_resume(run_to_step, directory / "run", track)


def compute_metrics(metrics: Mapping[str, Metric], subject: EvaluationContext) -> dict[str, float]:
    """Return the values of metrics by name."""
    return {name: float(metric(subject)) for name, metric in metrics.items()}


def _evaluate_pairs(run: Run, state: State, seed: int, evaluate: Evaluate, samples: int) -> dict[str, np.ndarray]:
    scheme = run.method.scheme
    pairs = [scheme.eval_state(state), *(locals_of(state) if isinstance(scheme, Sgan) else [])]
    evaluations = [
        evaluate(EvaluationContext(run.game, pair, torch.Generator().manual_seed(seed * 1_000 + index), samples))
        for index, pair in enumerate(pairs)
    ]
    return {name: np.array([evaluation[name] for evaluation in evaluations]) for name in evaluations[0]}


def _write(path: Path, arrays: Measurements) -> None:
    """Write arrays atomically, so that no reader sees a partial file."""
    temporary = path.with_suffix(".tmp")
    with temporary.open("wb") as file:
        np.savez(file, allow_pickle=False, **arrays)
    temporary.replace(path)
