"""Metrics of a run: measured with the fast ones, named if they fail, without effect on the training."""

from __future__ import annotations

import json
import math
import warnings
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from detente.errors import InvalidValue
from detente.games.quadratic import Bilinear
from detente.metrics import EvaluationContext, Metric
from detente.metrics.features import inception
from detente.metrics.likelihood import LogLikelihood
from detente.training.loop import applicable, train
from detente.training.measurement import measure
from detente.training.run import Run
from detente.training.run_directory.scores import key_for
from tests.training.small_runs import assert_same_bits, last, lines, record, ring, runs, saved

SMALL = replace(runs(20)["scheme-simultaneous-ring-3"], seeds=(3,), samples=40)


class MeanRadius(Metric):
    """Mean distance of the samples from the origin."""

    def __call__(self, subject: EvaluationContext) -> float:
        return float(subject.samples.norm(dim=1).mean())


class Drawing(Metric):
    def __call__(self, subject: EvaluationContext) -> float:
        return float(torch.rand((), generator=subject.generator))


class Failing(Metric):
    def __call__(self, subject: EvaluationContext) -> float:
        raise KeyError("two\nlines")


class InPlace(Metric):
    def __call__(self, subject: EvaluationContext) -> float:
        return float(subject.samples.clamp_(-0.1, 0.1).sum())


class Moving(Metric):
    def __call__(self, subject: EvaluationContext) -> float:
        return float(next(iter(subject.state.vectors.values())).mul_(2).sum())


class Supervised(Metric):
    def __call__(self, subject: EvaluationContext) -> float:
        return float(subject.real_labels().double().mean())


def subject() -> EvaluationContext:
    run = SMALL
    state = run.method.initial(run.game, torch.Generator().manual_seed(0))
    return EvaluationContext(run.game, state, torch.Generator().manual_seed(1), 16)


def values(metrics: Any) -> dict[str, float]:
    return {name: score.value for name, score in measure(metrics, subject()).items()}


def test_a_run_measures_the_requested_and_the_fast_metrics(tmp_path: Path) -> None:
    run = replace(SMALL, metrics=("log_likelihood:count=20", MeanRadius(), "modes_covered:least=3", "modes_covered"))
    ticks = [tick for tick in train(run) if tick.metrics]
    names = {*applicable(run.game), "log_likelihood:count=20", "mean_radius", "modes_covered:least=3"}
    assert all(set(scores) == names for tick in ticks for scores in tick.metrics.values())
    record(run, tmp_path / "run")
    written = [line["metrics"] for line in lines(tmp_path / "run") if "metrics" in line]
    assert written == [tick.metrics[3] for tick in ticks]
    described = json.loads((tmp_path / "run" / "metrics.json").read_text(encoding="utf-8"))
    assert described["log_likelihood:count=20"]["stamp"] == {"real": 40, "samples": 20}
    assert described["mean_radius"] == {
        "title": "Mean radius",
        "unit": "",
        "better": "none",
        "metric": "mean_radius",
        "stamp": {"samples": 40},
    }
    assert described["modes_covered:least=3"]["title"] == "Modes covered (least=3)"


def test_measuring_more_changes_neither_the_training_nor_the_other_metrics() -> None:
    more = replace(SMALL, metrics=(Drawing(), "log_likelihood", MeanRadius(), "coverage"))
    assert_same_bits(last(SMALL), last(more))
    plain, both = (list(train(run))[-1].metrics[3] for run in (SMALL, more))
    assert plain.items() <= both.items()
    turned = list(train(replace(more, metrics=more.metrics[::-1])))[-1].metrics[3]
    assert turned == both, "the order of the metrics must not matter"
    assert list(train(SMALL, metrics=more.metrics))[-1].metrics[3] == both


def test_a_failing_metric_is_named_and_the_training_continues(tmp_path: Path) -> None:
    run = replace(SMALL, metrics=(Failing(), MeanRadius()))
    with pytest.warns(UserWarning, match="failing was not measured: KeyError: 'two") as caught:
        record(run, tmp_path / "run")
    assert all("\n" not in str(warning.message) for warning in caught)
    measured = [line["metrics"] for line in lines(tmp_path / "run") if "metrics" in line]
    assert all(scores["failing"] is None and scores["mean_radius"] > 0 for scores in measured) and measured
    plain = tmp_path / "plain"
    record(SMALL, plain)
    assert_same_bits(saved(plain), saved(tmp_path / "run"))


def test_metrics_that_a_game_does_not_support_give_a_one_line_error(tmp_path: Path) -> None:
    bilinear = replace(runs(4)["scheme-simultaneous-bilinear-3"], metrics=("fid", MeanRadius(), Supervised()))
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        record(bilinear, tmp_path / "run")
    said = {str(warning.message) for warning in caught}
    assert said == {
        "fid is not measured: it needs RGB images of at least 32 pixels a side, and this game has no data",
        "mean_radius was not measured: game: got 'Bilinear'; allowed: a game with samples. This one has no generator",
        "supervised was not measured: game: got 'Bilinear'; allowed: a game with real data",
    }
    described = json.loads((tmp_path / "run" / "metrics.json").read_text(encoding="utf-8"))
    assert described["fid"]["missing"].startswith("it needs RGB images")
    assert isinstance(bilinear.game, Bilinear) and lines(tmp_path / "run")[-1]["metrics"]["distance_to_solution"] > 0


def test_data_without_labels_give_nan_and_a_warning() -> None:
    with pytest.warns(UserWarning, match="a game whose data have labels"):
        assert math.isnan(values({"supervised": Supervised()})["supervised"])


def test_real_samples_are_always_the_same() -> None:
    first, second = subject().real(300), subject().real(300)
    assert first.shape == (300, 2) and torch.equal(first, second)


def test_a_missing_package_stops_a_run_before_it_has_a_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(inception, "fits", lambda game: True)
    monkeypatch.setattr(inception, "missing", lambda game: "")
    monkeypatch.setitem(__import__("sys").modules, "torch_fidelity", None)
    run = replace(SMALL, metrics=("fid",))
    with pytest.raises(InvalidValue, match=r"metrics: got 'fid'; .*pip install 'detente\[inception\]'") as caught:
        record(run, tmp_path / "run")
    assert not (tmp_path / "run").exists() and "\n" not in str(caught.value)
    with pytest.raises(InvalidValue, match="metrics: got 'fid'"):
        next(train(run))


@pytest.mark.parametrize("metric", [InPlace(), Moving()])
def test_a_metric_that_changes_what_it_measures_is_refused(metric: Metric) -> None:
    with pytest.raises(InvalidValue, match="neither samples nor parameters in place"):
        values({"changing": metric})


def test_a_failing_generator_leaves_the_other_metrics(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*arguments: object) -> None:
        raise RuntimeError("no samples")

    context = subject()
    monkeypatch.setattr(type(context.game), "sample", fail)
    with pytest.warns(UserWarning, match="mean_radius was not measured: RuntimeError: no samples"):
        scores = measure({"mean_radius": MeanRadius(), "drawing": Drawing()}, context)
    assert math.isnan(scores["mean_radius"].value) and 0 <= scores["drawing"].value <= 1


def test_values_with_other_stamps_have_other_keys() -> None:
    entries: dict[str, Any] = {}
    metric = LogLikelihood()
    first = {"extractor": "a", "real": 5, "samples": 10}
    assert key_for(entries, "m", metric, first) == "m" == key_for(entries, "m", metric, dict(first))
    assert key_for(entries, "m", metric, {**first, "samples": 50}) == "m samples=50"
    assert key_for(entries, "m", metric, {**first, "real": 7, "samples": 50}) == "m real=7 samples=50"
    other = {**first, "extractor": "b"}
    assert key_for(entries, "m", metric, other) == "m (2)" == key_for(entries, "m", metric, other)
    unstamped: dict[str, Any] = {"m": {"title": "of an earlier release"}}
    assert key_for(unstamped, "m", metric, {"samples": 3}) == "m samples=3"
    assert key_for(unstamped, "m", metric, {"samples": 3}, training=True) == "m"


def test_a_run_whose_samples_change_when_it_resumes_records_other_metrics(tmp_path: Path) -> None:
    run = replace(SMALL, steps=10, metrics=(MeanRadius(),))
    record(run, tmp_path / "run")
    record(replace(run, steps=20, samples=50), tmp_path / "run", resume=True)
    names = [set(line["metrics"]) for line in lines(tmp_path / "run") if "metrics" in line]
    assert "mean_radius" in names[0] and "mean_radius samples=50" in names[-1] and "mean_radius" not in names[-1]


def test_metrics_of_a_run_are_checked_when_it_is_built() -> None:
    with pytest.raises(InvalidValue, match="Did you mean 'fid'"):
        Run(ring(), SMALL.method, metrics=("fidd",))
    assert Run(ring(), SMALL.method, metrics=["fid"]).metrics[0].title.startswith("Fréchet")  # type: ignore


def test_a_metric_may_call_modules_without_a_graph() -> None:
    class Graphs(Metric):
        def __call__(self, subject: EvaluationContext) -> float:
            score = torch.nn.Linear(2, 1)(subject.samples)
            assert not score.requires_grad
            return score.mean()  # type: ignore[return-value]

    *_, tick = train(SMALL, metrics=[Graphs()])
    assert math.isfinite(tick.metrics[3]["graphs"])
