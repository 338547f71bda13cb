"""Early stopping: when a seed stops, what is recorded, and that a resumed run stops where an uninterrupted one does."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from detente import cli, methods
from detente.errors import InvalidValue
from detente.games.quadratic import Bilinear, Quadratic
from detente.metrics.distance_to_solution import DistanceToSolution
from detente.metrics.mode_divergence import ModeDivergence
from detente.report.run_directory import read_run
from detente.training.loop import train
from detente.training.progress import Progress, initial_progress
from detente.training.run import Run
from detente.training.run_directory import checkpoint
from detente.training.run_directory.record import Record, train_into
from detente.training.stopping import Stopping
from tests.training.small_runs import assert_same_bits, lines, saved

IDENTITY, ZERO = ((1.0,),), ((0.0,),)
EVERY: dict[str, Any] = {"record_every": 5, "measure_every": 5, "checkpoint_every": 10, "compile": "off"}


def shrinking(**settings: Any) -> Run:
    """Return a run in which x ← 0.9 x for both players, so that the distance to 0 after t steps is 0.9ᵗ |x₀|."""
    game = Quadratic(IDENTITY, ZERO, IDENTITY, ZERO)
    return Run(game, methods.simultaneous("sgd", 0.1), **{"steps": 100, "seeds": (0, 1), **EVERY, **settings})


def growing(**settings: Any) -> Run:
    """Return a run on the bilinear game with plain gradient steps, where the distance to the solution only grows."""
    return Run(Bilinear(), methods.simultaneous("sgd", 0.1), **{"steps": 100, **EVERY, **settings})


def end(run: Run) -> dict[int, Progress]:
    *_, last = train(run)
    return {progress.seed: progress for progress in last.progress}


def test_each_seed_stops_at_the_first_measurement_below_the_threshold() -> None:
    run = shrinking(stop_when="distance_to_solution < 0.05")
    for seed, progress in end(run).items():
        vectors = initial_progress(run, seed).state.vectors
        start = math.hypot(*(float(vector) for vector in vectors.values()))
        expected = 5 * math.ceil(math.log(0.05 / start) / math.log(0.9) / 5)
        assert progress.step == progress.stopped_at == expected and progress.diverged_at is None


def test_patience_counts_measurements_without_a_better_value() -> None:
    (progress,) = end(growing(stop_when="distance_to_solution", patience=3)).values()
    assert (progress.stopped_at, progress.waited) == (15, 3), "the best value is that before the first step"
    (progress,) = end(growing(stop_when="distance_to_solution > 2", patience=50, steps=200)).values()
    assert progress.stopped_at is not None and 0 < progress.waited < 50
    assert end(shrinking(stop_when="distance_to_solution", patience=1))[0].stopped_at is None


def test_nan_is_never_better() -> None:
    rule, start = Stopping("mode_divergence", patience=2), initial_progress(growing(), 0)
    first = rule.after(start, math.nan, ModeDivergence())
    second = rule.after(first, math.nan, ModeDivergence())
    assert (first.best, first.waited, first.stopped_at) == (None, 1, None)
    assert (second.best, second.stopped_at) == (None, 0)
    better = rule.after(first, 0.5, ModeDivergence())
    assert (better.best, better.waited) == (0.5, 0)
    assert rule.after(better, 0.5, ModeDivergence()).waited == 1, "an equal value is not better"
    assert rule.after(better, 0.6, ModeDivergence()).best == 0.5, "lower is better"


def test_status_json_holds_the_step_and_the_reason(tmp_path: Path) -> None:
    run = shrinking(stop_when="distance_to_solution < 0.05")
    progress = end(run)
    for _ in train_into(run, tmp_path / "one", {}):
        pass
    seeds = json.loads((tmp_path / "one" / "status.json").read_text(encoding="utf-8"))["seeds"]
    for seed, entry in seeds.items():
        assert (entry["status"], entry["diverged_at"]) == ("finished", None)
        assert entry["step"] == entry["stopped_at"] == progress[int(seed)].step
        assert entry["stopped_because"] == "distance_to_solution < 0.05"
    steps = {seed: [line["step"] for line in lines(tmp_path / "one") if line["seed"] == seed] for seed in run.seeds}
    assert {seed: max(steps[seed]) for seed in run.seeds} == {seed: progress[seed].step for seed in run.seeds}
    read = read_run(tmp_path / "one", "one")
    assert read.diverged == () and read.notes == ()

    impatient = replace(growing(), stop_when="distance_to_solution", patience=3)
    for _ in train_into(impatient, tmp_path / "two", {}):
        pass
    (entry,) = json.loads((tmp_path / "two" / "status.json").read_text(encoding="utf-8"))["seeds"].values()
    assert entry["stopped_because"].endswith("in 3 measurements") and entry["stopped_at"] == 15


@pytest.mark.parametrize("cut", [5, 10, 35])
def test_a_resumed_run_stops_where_an_uninterrupted_one_does(tmp_path: Path, cut: int) -> None:
    """The best value and the number of measurements since are part of a checkpoint."""
    run = growing(stop_when="distance_to_solution", patience=9)
    for _ in train_into(run, tmp_path / "whole", {}):
        pass
    with pytest.raises(KeyboardInterrupt), Record(run, tmp_path / "cut", {}) as record:
        for tick in record.follow(train(run)):
            if tick.step == cut:
                raise KeyboardInterrupt
    assert checkpoint.load(tmp_path / "cut" / "checkpoints", run)[0].waited == cut // 5
    for _ in train_into(run, tmp_path / "cut", {}, resume=True):
        pass
    assert lines(tmp_path / "cut") == lines(tmp_path / "whole")
    assert_same_bits(saved(tmp_path / "cut"), saved(tmp_path / "whole"))
    assert lines(tmp_path / "cut")[-1]["step"] == 45
    assert list(train_into(replace(run, steps=200), tmp_path / "cut", {}, resume=True)) == [], "it has stopped"
    (entry,) = json.loads((tmp_path / "cut" / "status.json").read_text(encoding="utf-8"))["seeds"].values()
    assert (entry["status"], entry["stopped_at"]) == ("finished", 45)


def test_a_checkpoint_of_an_earlier_release_can_be_loaded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = growing()
    monkeypatch.setattr(checkpoint, "STATISTICS", ("seconds", "diverged_at"))
    checkpoint.save(tmp_path, tuple(initial_progress(run, seed) for seed in run.seeds))
    monkeypatch.undo()
    (progress,) = checkpoint.load(tmp_path, run)
    assert (progress.stopped_at, progress.best, progress.waited) == (None, None, 0)


@pytest.mark.parametrize(
    ("settings", "named"),
    [
        ({"stop_when": "distance_to_solution"}, "stop_when"),
        ({"stop_when": "distance_to_solution <"}, "stop_when"),
        ({"stop_when": "distance_to_solution < soon"}, "stop_when"),
        ({"stop_when": "distance_to_solution < nan"}, "stop_when"),
        ({"stop_when": "distance_to_solution", "patience": 0}, "patience"),
        ({"patience": 3}, "patience"),
    ],
)
def test_invalid_settings_are_refused_at_construction(settings: dict[str, Any], named: str) -> None:
    with pytest.raises(InvalidValue) as refused:
        growing(**settings)
    assert refused.value.field == named


def test_a_game_without_metrics_says_that_none_is_measured() -> None:
    with pytest.raises(InvalidValue, match="a metric that is measured. None is; name it in --metrics"):
        Stopping.of("mode_divergence < 1", None).check({})  # type: ignore[union-attr]


def test_a_metric_that_is_not_measured_is_refused_before_anything_is_written(tmp_path: Path) -> None:
    run = growing(stop_when="modes_covered > 7")
    for start in (lambda: next(train(run)), lambda: next(train_into(run, tmp_path / "run", {}))):
        with pytest.raises(InvalidValue, match="distance_to_solution"):
            start()
    assert not (tmp_path / "run" / "run.yaml").exists()
    neutral = type("Neutral", (DistanceToSolution,), {"better": "none"})()
    with pytest.raises(InvalidValue, match="patience"):
        Stopping("neutral", patience=2).check({"neutral": neutral})


def test_from_the_shell(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["train", "--game", "bilinear", "--method", "simultaneous", "--steps", "100", "--measure_every", "5"]
    rule = ["--stop_when", "distance_to_solution > 0.001", "--out", str(tmp_path / "one")]
    assert cli.main([*words, *rule]) == 0
    assert "Seed 0 stopped at step 0" in capsys.readouterr().out
    assert cli.main(["resume", str(tmp_path / "one")]) == 0
