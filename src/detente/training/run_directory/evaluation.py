"""Measure metrics on a checkpoint of a recorded run, and add them to its record."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from detente.errors import InvalidValue, require
from detente.metrics.base import Metric
from detente.metrics.context import EvaluationContext, Track, untracked
from detente.metrics.selection import metrics_by_label
from detente.training.loop import applicable
from detente.training.measurement import Score, measure, measurement_generator, require_available, select_applicable
from detente.training.progress import Progress
from detente.training.run import Run
from detente.training.run_directory import checkpoint
from detente.training.run_directory.lock import DirectoryLock
from detente.training.run_directory.scores import add_scores


@dataclass(frozen=True)
class Evaluation:
    """The scores of a checkpoint.

    Args:
        step: step of the checkpoint.
        scores: scores by seed and name.
        metrics: the metrics by name.
        diverged: seeds that had diverged by this step, which are not measured.
    """

    step: int
    scores: Mapping[int, Mapping[str, Score]]
    metrics: Mapping[str, Metric]
    diverged: tuple[int, ...]


def evaluate(
    run: Run,
    directory: Path | str,
    metrics: Iterable[str | Metric] | str | Metric | None = None,
    samples: int | None = None,
    step: int | None = None,
    track: Track = untracked,
) -> Evaluation:
    """Measure metrics on a checkpoint of every seed, add them to the run's record, and return them.

    The evaluation does not affect how the run resumes, nor its other metrics. Values that are measured differently
    from those of the training, such as on more samples, are recorded under a separate name.

    Args:
        run: the run.
        directory: its run directory.
        metrics: names, import paths or objects, as in `Run`. Default: all that the training measures.
        samples: number of generated samples, ≥ 1. Default: as in the training.
        step: step of the checkpoint. Default: the last one.
        track: shows the progress.

    Raises:
        InvalidValue: there is no such checkpoint; a metric does not exist, does not apply to the game, or needs a
            package or file that is missing; or another process writes into the directory.
    """
    directory, count = Path(directory), run.samples if samples is None else samples
    path = None if step is None else _checkpoint(directory, step)
    require(samples is None or samples >= 1, "n", samples, "an integer ≥ 1")
    if metrics is None:
        chosen = {**applicable(run.game), **select_applicable(metrics_by_label(run.metrics), run.game)[0]}
        allowed = "metrics that apply to the run's game; detente list metrics says what each needs"
        require(len(chosen) > 0, "metrics", None, allowed)
    else:
        chosen = metrics_by_label(metrics)
        require(len(chosen) > 0, "metrics", [], "at least one metric from `detente list metrics`")
        for name, reason in select_applicable(chosen, run.game)[1].items():
            raise InvalidValue("metrics", name, f"a metric that applies to the game of {directory}", reason)
    require_available(chosen, run.game)
    DirectoryLock(directory, "run").release()  # fail before the measurement if another process writes into it
    loaded = checkpoint.load(directory / "checkpoints", run) if path is None else checkpoint.read(path, run)
    scores = {progress.seed: _measure(run, progress, chosen, count, track) for progress in loaded if _alive(progress)}
    at = max(progress.step for progress in loaded)
    add_scores(directory, at, scores, chosen, {progress.seed: _cost(run, progress) for progress in loaded})
    return Evaluation(at, scores, chosen, tuple(p.seed for p in loaded if not _alive(p)))


def _checkpoint(directory: Path, step: int) -> Path:
    paths = {checkpoint.step_of(path): path for path in checkpoint.files(directory / "checkpoints")}
    steps = ", ".join(map(str, paths)) or "none"
    require(step in paths, "step", step, f"a step with a checkpoint in {directory}: {steps}")
    return paths[step]


def _alive(progress: Progress) -> bool:
    return progress.diverged_at is None


def _measure(run: Run, progress: Progress, metrics: Mapping[str, Metric], count: int, track: Track) -> dict[str, Score]:
    state, generator = run.method.scheme.eval_state(progress.state), measurement_generator(progress.seed)
    return measure(metrics, EvaluationContext(run.game, state, generator, count, track))


def _cost(run: Run, progress: Progress) -> dict[str, float]:
    cost = run.method.gradient_evaluations(run.game) * progress.step
    return {"gradient_evaluations": cost, "seconds": progress.seconds}
