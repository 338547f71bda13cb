"""`detente.search`: it continues exactly, trials are ordinary runs, and the worse ones end early."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

import detente
from detente import methods
from detente.comparison import search as searches
from detente.comparison.grid import named_executor
from detente.comparison.search_space import Range, parse_space, word
from detente.errors import InvalidValue
from detente.executors.processes import Processes
from detente.games.networks import Networks
from detente.games.quadratic import Bilinear
from detente.metrics.mode_divergence import ModeDivergence
from detente.report.search import read_search, search_lines
from detente.training.loop import train
from detente.training.run import Run
from tests.training.small_runs import assert_same_bits, carried, lines, saved

pytest.importorskip("optuna")

OVER: dict[str, str | Range] = {"learning_rate": "log:1e-3:0.5", "optimizer": "choice:sgd,momentum"}
SETTINGS: dict[str, Any] = {"steps": 27, "seeds": (0, 1), "compile": "off", "over": OVER}


def outcome(folder: Path) -> list[dict[str, Any]]:
    keys = ("number", "parameters", "status", "value", "rungs")
    return [{key: trial[key] for key in keys} for trial in read_search(folder)["trials"]]


def test_an_interrupted_search_equals_an_uninterrupted_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = detente.search(Bilinear(3), methods.extragradient, out=tmp_path / "whole", trials=6, **SETTINGS)
    parts = tmp_path / "parts"
    detente.search(Bilinear(3), methods.extragradient, out=parts, trials=2, **SETTINGS)
    assert len(outcome(parts)) == 2
    monkeypatch.setattr(searches, "POLL_SECONDS", 0.0)
    searching = searches.searching(_plan(6), named_executor(None), parts)
    for state in searching:
        if len(state.record["trials"]) == 4 and any(cell.progress.step > 0 for cell in state.grid.values()):
            searching.close()  # while a trial is in flight, as Ctrl-C does
    assert outcome(parts)[-1]["status"] == "unfinished"
    again = detente.search(Bilinear(3), methods.extragradient, out=parts, trials=6, **SETTINGS)
    assert outcome(parts) == outcome(tmp_path / "whole")
    assert again.parameters == whole.parameters and again.value == whole.value
    best = min(trial["value"] for trial in whole.trials if trial["status"] == "complete")
    assert whole.value == best and math.isfinite(best)


def _plan(trials: int) -> searches.SearchPlan:
    """Return the plan that `detente.search` makes of the settings."""
    plans: list[searches.SearchPlan] = []
    original = searches.searching

    def noted(plan: searches.SearchPlan, *others: Any) -> Any:
        plans.append(plan)
        return iter(())

    searches.searching = noted
    try:
        with pytest.raises(FileNotFoundError):
            detente.search(Bilinear(3), methods.extragradient, out="/nowhere", trials=trials, **SETTINGS)
    finally:
        searches.searching = original
    return plans[0]


def test_trials_are_ordinary_runs_and_the_worse_ones_end_early_at_equal_budget(tmp_path: Path) -> None:
    game, method, out = Bilinear(3), methods.extragradient, tmp_path / "out"
    result = detente.search(game, method, out=out, trials=8, executor=Processes(1), **SETTINGS)
    by_status: dict[str, list[Any]] = {}
    for trial in result.trials:
        by_status.setdefault(trial["status"], []).append(trial)
    assert {"complete", "pruned"} == by_status.keys()
    for trial in by_status["pruned"]:
        rungs = len(trial["rungs"])
        assert trial["steps"] == {1: 3, 2: 9}[rungs] == lines(out / trial["directory"])[-1]["step"]
        there = [
            other["rungs"][rungs - 1] for other in result.trials[: trial["number"]] if len(other["rungs"]) >= rungs
        ]
        assert trial["rungs"][-1] > min(there)
    trial = by_status["complete"][-1]
    assert trial["steps"] == 27 and len(trial["rungs"]) == 2
    settings = {key: value for key, value in SETTINGS.items() if key != "over"}
    run = Run(game, method(**trial["parameters"]), measure_every=3, **settings)
    *_, last = train(run)  # at one go, and without files
    assert_same_bits({k: v for k, v in saved(out / trial["directory"]).items() if "/state/" in k}, {
        f"{key.partition('/')[0]}/state/{key.partition('/')[2]}": tensor
        for key, tensor in carried(last.progress).items() if not key.endswith("/random")
    })  # fmt: skip
    distances = [last.metrics[seed]["distance_to_solution"] for seed in (0, 1)]
    assert trial["value"] == pytest.approx(sum(distances) / 2, rel=1e-6)


def test_diverging_trials_rank_last_and_impossible_ones_are_left_out(tmp_path: Path) -> None:
    def method(step: int) -> Any:
        if step == 2:
            raise InvalidValue("step", step, "another number")
        return methods.simultaneous("sgd", learning_rate=1e38 if step == 1 else 0.1)

    over = {"step": Range("choice", choices=(0, 1, 2, 3))}
    settings = {"trials": 12, "steps": 9, "seeds": (0,), "compile": "off", "pruning": False}
    result = detente.search(Bilinear(3), method, over, tmp_path / "out", **settings)
    statuses = {(trial["parameters"]["step"], trial["status"]) for trial in result.trials}
    assert statuses <= {(0, "complete"), (1, "diverged"), (2, "failed"), (3, "complete")}
    assert {(1, "diverged"), (2, "failed")} <= statuses
    assert result.parameters["step"] in (0, 3)
    (failed, *_) = [trial for trial in result.trials if trial["status"] == "failed"]
    assert failed["error"] == "step: got 2; allowed: another number"


def test_another_search_in_the_folder_is_refused(tmp_path: Path) -> None:
    settings = {**SETTINGS, "steps": 3}
    detente.search(Bilinear(3), methods.extragradient, out=tmp_path, trials=1, **settings)
    other = {**settings, "over": {"learning_rate": "log:1e-4:0.5"}}
    with pytest.raises(InvalidValue, match="a search over learning_rate=log:0.001:0.5.*differs in: over"):
        detente.search(Bilinear(3), methods.extragradient, out=tmp_path, trials=1, **other)
    with pytest.raises(InvalidValue, match="metric: got 'norm'|metrics: got 'norm'"):
        detente.search(Bilinear(3), methods.extragradient, out=tmp_path / "a", trials=1, metric="norm", **settings)
    with pytest.raises(InvalidValue, match="trials: got 0"):
        detente.search(Bilinear(3), methods.extragradient, out=tmp_path / "a", trials=0, **settings)
    assert not (tmp_path / "a").exists()


def test_the_printed_command_trains_the_best_settings(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from detente import cli

    monkeypatch.chdir(tmp_path)
    command = (
        "search --game bilinear --method consensus --over strength=log:0.1:10 "
        "learning_rate=log:1e-3:0.1 game.dimension=int:2:4 --trials 3 --budget 36grads --seeds 7 --compile off "
        "--out out"
    )
    assert cli.main(command.split()) == 0, capsys.readouterr().err
    output, record = capsys.readouterr().out, read_search(tmp_path / "out")
    assert all(line in output for line in search_lines(record))
    best = record["trials"][record["best"]]
    line = record["command"].replace("--seeds 0 1 2 3 4 5 6 7 8 9", "--seeds 7").split()
    assert cli.main(line[1:]) == 0, capsys.readouterr().err
    assert_same_bits(saved(tmp_path / "out-best"), saved(tmp_path / "out" / best["directory"]))
    assert cli.main(["report", "out", "--out", "page.html"]) == 0
    assert record["command"].split(" --out")[0] in (tmp_path / "page.html").read_text("utf-8")
    capsys.readouterr()
    for wrong, expected in (
        ("--over strength=log:0:1", "over: got 'log:0:1'"),
        ("--over strength", "over: got 'strength'; allowed: NAME=log:LOW:HIGH"),
        ("--over strenth=1:2", "Did you mean '--method.strength'?"),
        ("--over strength=1:2 --metric nothing", "nothing"),
        ("--over strength=1:2 --budget 3grads --steps 2", "either --budget or --steps"),
        ("--over strength=choice:1", "at least two different choices"),
    ):
        status = cli.main(f"search --game bilinear --method consensus --out other {wrong}".split())
        error = capsys.readouterr().err
        assert status == 2 and expected in error and error.count("\n") == 1, error
    assert not (tmp_path / "other").exists()


def test_ranges_are_read_and_written_as_they_are_typed() -> None:
    texts = {"a": "log:0.001:10", "b": "linear:-1:1", "c": "int:1:5", "d": "choice:sgd,adam,2,0.5,true"}
    space = parse_space(texts)
    assert {name: str(interval) for name, interval in space.items()} == texts
    assert space["d"].choices == ("sgd", "adam", 2, 0.5, True) and str(Range.parse("x", "1:2")) == "linear:1:2"
    assert [interval.ends() for interval in space.values()] == [(0.001, 10.0), (-1.0, 1.0), (1, 5), ("sgd", True)]
    assert [word(value) for value in (True, 1e-5, 3, "sgd")] == ["true", "1e-05", "3", "sgd"]
    assert space["a"].rounded(0.0012345678) == 0.001235 and space["a"].rounded(9.99999) == 10.0
    assert Range("linear", 0.12344, 1).rounded(0.12344) == 0.12344  # 0.1234 would be outside the range
    for text in ("log:0:1", "2:1", "int:0.5:2", "choice:a,a", "1", "log:a:b", "", "log:1:inf"):
        with pytest.raises(InvalidValue, match="over"):
            Range.parse("x", text)


def test_rungs_are_measurements() -> None:
    run = Run(Bilinear(3), methods.extragradient(), steps=100)
    assert searches.shares(searches.with_measurements(run), True) == (11 / 100, 33 / 100, 1.0)
    assert searches.shares(replace(run, measure_every=40), True) == (40 / 100, 1.0)
    assert searches.shares(replace(run, steps=2, measure_every=1), True) == (1 / 2, 1.0)
    assert searches.shares(run, False) == (1.0,)
    assert json.loads(json.dumps(searches.shares(replace(run, seconds=9.0), True)))[-1] == 1.0


def test_a_game_without_a_metric_that_ranks_needs_one_by_name() -> None:
    def losses(net: Any, batch: Any) -> dict[str, Any]:
        return {"only": net.only(batch["x"]).square().mean()}

    game = Networks({"only": nn.Linear(2, 1)}, losses, {"x": torch.ones(4, 2)})
    with pytest.raises(InvalidValue, match="metric: got None; .*name one"):
        searches.chosen_metric(game, None)
    requested = (ModeDivergence(),)
    assert searches.chosen_metric(game, None, requested)[0] == "mode_divergence"
