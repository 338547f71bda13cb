"""`detente.evaluate`: metrics of checkpoints, added to the record without touching the run."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import detente
from detente.errors import InvalidValue
from detente.metrics import EvaluationContext, Metric
from detente.report.ranking import rankings
from detente.report.run_directory import read_run
from detente.training.run_directory.lock import DirectoryLock
from tests.training.small_runs import COSTS, assert_same_bits, lines, record, runs, saved

SMALL = replace(runs(20)["scheme-simultaneous-ring-3"], seeds=(0, 3), samples=40)


class MeanRadius(Metric):
    """Mean distance of the samples from the origin."""

    def __call__(self, subject: EvaluationContext) -> float:
        return float(subject.samples.norm(dim=1).mean())


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    record(SMALL, tmp_path / "run")
    return tmp_path / "run"


def without_costs(directory: Path) -> list[dict[str, Any]]:
    return [{key: value for key, value in line.items() if key not in COSTS} for line in lines(directory)]


def test_scores_are_added_to_the_line_of_their_seed_and_step(directory: Path) -> None:
    before = lines(directory)
    evaluation = detente.evaluate(SMALL, directory, ["log_likelihood", MeanRadius()])
    after = lines(directory)
    assert evaluation.step == 20 and set(evaluation.scores) == {0, 3}
    assert len(after) == len(before) and after[:-2] == before[:-2]
    for old, new in zip(before[-2:], after[-2:], strict=True):
        scores = {name: score.value for name, score in evaluation.scores[new["seed"]].items()}
        assert new == {**old, "metrics": {**old["metrics"], **scores}} and math.isfinite(scores["mean_radius"])
    described = json.loads((directory / "metrics.json").read_text(encoding="utf-8"))
    assert described["log_likelihood"]["stamp"] == {"real": 40, "samples": 40}


def test_scores_equal_those_measured_during_training(directory: Path) -> None:
    more = replace(SMALL, metrics=("log_likelihood", MeanRadius()))
    record(more, directory.parent / "more")
    expected = lines(directory.parent / "more")[-1]["metrics"]
    detente.evaluate(SMALL, directory, ["log_likelihood", MeanRadius()])
    assert lines(directory)[-1]["metrics"] == expected
    before = lines(directory)
    detente.evaluate(more, directory)
    assert lines(directory) == before


def test_an_evaluation_does_not_affect_a_resumed_run(directory: Path) -> None:
    other = directory.parent / "other"
    record(SMALL, other)
    for step in (None, 10):
        detente.evaluate(SMALL, directory, ["log_likelihood", "modes_covered"], samples=60, step=step)
    for path in (directory, other):
        record(replace(SMALL, steps=30), path, resume=True)
    assert_same_bits(saved(directory), saved(other))
    added = {"log_likelihood", "modes_covered samples=60"}
    for evaluated, plain in zip(without_costs(directory), without_costs(other), strict=True):
        metrics = {name: value for name, value in evaluated.get("metrics", {}).items() if name not in added}
        assert {**evaluated, "metrics": metrics} == {"metrics": {}, **plain}
    run = read_run(directory, "run")
    assert {metric.title for metric in run.metrics.values()} >= {"Log-likelihood of real points", "Modes covered"}


def test_other_sample_counts_are_separate_metrics_in_the_record_and_the_report(directory: Path) -> None:
    detente.evaluate(SMALL, directory, ["modes_covered"], samples=500)
    plain = directory.parent / "plain"
    record(SMALL, plain)
    ranked = {row.title: row for row in rankings([read_run(directory, "a"), read_run(plain, "b")])}
    few, many = (ranked[f"Modes covered ({n} generated samples)"] for n in (40, 500))
    assert few.only_run is None and many.only_run == 0 and many.measured == "500 generated samples"
    assert lines(directory)[-1]["metrics"].keys() >= {"modes_covered", "modes_covered samples=500"}


def test_an_earlier_checkpoint_can_be_evaluated(directory: Path) -> None:
    evaluation = detente.evaluate(SMALL, directory, [MeanRadius()], step=10)
    measured = {line["step"] for line in lines(directory) if "mean_radius" in line.get("metrics", {})}
    assert evaluation.step == 10 and measured == {10}
    (row,) = [row for row in rankings([read_run(directory, "a")]) if row.title == "Mean radius"]
    assert row.earlier == {0: 10}


def test_a_missing_line_of_the_record_is_added(directory: Path) -> None:
    remaining = [json.dumps(line) for line in lines(directory) if line["step"] != 20]
    (directory / "metrics.jsonl").write_text("".join(line + "\n" for line in remaining) + '{"cut off', encoding="utf-8")
    detente.evaluate(SMALL, directory, [MeanRadius()])
    text = (directory / "metrics.jsonl").read_text(encoding="utf-8").splitlines()
    assert [line for line in text if "cut off" not in line][:-2] == remaining and '{"cut off' in text
    new = [line for line in map(json.loads, [t for t in text if "cut off" not in t]) if line["step"] == 20]
    assert [line["seed"] for line in new] == [0, 3]
    assert all(line["gradient_evaluations"] == 40 and line["seconds"] > 0 for line in new)


def test_seeds_that_diverged_are_left_out(tmp_path: Path) -> None:
    from detente.fields.gradient import Gradient
    from detente.methods.method import Method
    from detente.optimizers.sgd import SGD
    from detente.schemes.simultaneous import Simultaneous

    wild = replace(SMALL, method=Method(Gradient(), Simultaneous(), SGD(1e38)))
    record(wild, tmp_path / "run")
    before = (tmp_path / "run" / "metrics.jsonl").read_text(encoding="utf-8")
    evaluation = detente.evaluate(wild, tmp_path / "run", [MeanRadius()])
    assert evaluation.diverged == (0, 3) and not evaluation.scores
    assert (tmp_path / "run" / "metrics.jsonl").read_text(encoding="utf-8") == before


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"metrics": ["fidd"]}, "Did you mean 'fid'"),
        (
            {"metrics": ["fid"]},
            "it needs RGB images of at least 32 pixels a side, and this game's data have shape (2,)",
        ),
        ({"metrics": []}, "at least one metric"),
        ({"samples": 0}, "n: got 0"),
        ({"step": 7}, "step: got 7; allowed: a step with a checkpoint in"),
    ],
)
def test_invalid_arguments_give_one_line_errors(arguments: dict[str, Any], message: str, directory: Path) -> None:
    with pytest.raises(InvalidValue) as caught:
        detente.evaluate(SMALL, directory, **arguments)
    assert message in str(caught.value) and "\n" not in str(caught.value)


def test_a_running_training_is_not_affected(directory: Path) -> None:
    before = (directory / "metrics.jsonl").read_bytes(), (directory / "metrics.json").read_bytes()
    with DirectoryLock(directory), pytest.raises(InvalidValue, match="no other process writes into"):
        detente.evaluate(SMALL, directory, [MeanRadius()])
    assert before == ((directory / "metrics.jsonl").read_bytes(), (directory / "metrics.json").read_bytes())
    assert not (directory / "lock").exists()
