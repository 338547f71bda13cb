"""What is seen of a training at moments of it, kept in files, so that each moment is looked at only once."""

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
from detente.metrics.context import Subject
from detente.schemes.pairs import locals_of
from detente.schemes.sgan import Sgan
from detente.state import State
from detente.training.run import Run

Evaluate = Callable[[Subject], Mapping[str, Any]]
Measurements = dict[str, np.ndarray]
RECORDS = 20  # of the record, unless the run says otherwise


def evaluate_at_steps(
    run: Run, directory: Path, moments: Sequence[int], look: Evaluate, samples: int, track: Track
) -> dict[int, Measurements]:
    """Train to each moment in turn, and return what `look` saw there.

    Args:
        run: the training; its number of steps is replaced by the moments.
        directory: for its run directory and the files.
        moments: steps ≥ 1, ascending.
        look: what is looked at, numbers and arrays by name.
        samples: how many samples a `look` has.
        track: shows how far it has come.

    Returns:
        By moment: what was seen, (seeds, pairs, …); with SGAN the global pair first, else one pair.
    """
    found = {}
    directory.mkdir(parents=True, exist_ok=True)
    for step in moments:
        path = directory / f"seen-{step}.npz"
        if not path.exists():
            done = train_to_step(run, directory, step, max(moments), track)
            seen = [_looks(run, done.states[seed], seed, look, samples) for seed in run.seeds]
            _write(path, {name: np.array([one[name] for one in seen]) for name in seen[0]})
        with np.load(path) as file:
            found[step] = {name: file[name] for name in file.files}
    return found


def train_to_step(run: Run, directory: Path, step: int, last: int, track: Track) -> TrainingResult:
    """Return a training to `last` as far as `step`, in the run directory that `seen_at` uses."""
    every = run.record_every or -(-last // RECORDS)
    # Measured and kept where a part ends.
    part = replace(run, steps=step, record_every=every, measure_every=last, checkpoint_every=last)
    return train_or_resume(part, directory / "run", track)


def compute_metrics(metrics: Mapping[str, Metric], subject: Subject) -> dict[str, float]:
    """Return each metric of a subject, by name."""
    return {name: float(metric(subject)) for name, metric in metrics.items()}


def _looks(run: Run, state: State, seed: int, look: Evaluate, samples: int) -> dict[str, np.ndarray]:
    scheme = run.method.scheme
    pairs = [scheme.evaluated(state), *(locals_of(state) if isinstance(scheme, Sgan) else [])]
    told = [
        look(Subject(run.game, pair, torch.Generator().manual_seed(seed * 1_000 + index), samples))
        for index, pair in enumerate(pairs)
    ]
    return {name: np.array([one[name] for one in told]) for name in told[0]}


def _write(path: Path, arrays: Measurements) -> None:
    """Write arrays so that no reader ever sees half of them."""
    temporary = path.with_suffix(".tmp")
    with temporary.open("wb") as file:
        np.savez(file, allow_pickle=False, **arrays)
    temporary.replace(path)
