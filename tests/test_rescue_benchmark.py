"""The rescue benchmark's cases: each builds and trains, and its marks tell real samples from constant ones."""

import json
import warnings
from types import SimpleNamespace

import pytest
import torch

from benchmarks.rescue import run
from benchmarks.rescue.cases import case, names
from benchmarks.rescue.table import table
from detente.checks.base import FAILURES
from detente.metrics.features import classifier
from detente.training.stepper import Stepper

pytestmark = pytest.mark.skipif(not classifier.exists("digits"), reason="the digits' classifier is not trained")


def built(function):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # some cases warn about what is wrong with them, as for a user
        return function()


def test_there_are_fifteen_cases_and_three_controls():
    controls = [name for name in names() if case(name).CLASSES == ("healthy",)]
    assert (len(names()) - len(controls), len(controls)) == (15, 3)


@pytest.mark.parametrize("name", names())
def test_a_case_builds_trains_and_tells_real_from_constant(name):
    module = case(name)
    assert set(module.CLASSES) <= set(FAILURES)
    assert module.LINK.startswith("https://")
    twin, twin_method = built(module.twin)
    game, method = built(module.game), built(module.method)
    for its_game, its_method in ((game, method), (twin, twin_method)):
        stepper = built(lambda its_game=its_game, its_method=its_method: Stepper(its_game, its_method))
        for _ in range(2):
            stepper.step()
        if name != "f39":
            assert bool(stepper.sample(2).isfinite().all())
    real = run.real_samples(module, game)
    fair = real[torch.randperm(len(real), generator=torch.Generator().manual_seed(0))[: module.MARKS.count]]
    assert module.cured(fair, real)
    assert not module.failed(fair, real)
    single = fair[:1, :1] if name in ("f47", "o4") else fair[:1]  # there, a sample is many scalars
    constant = single.expand_as(fair)
    assert module.failed(constant, real)
    assert not module.cured(constant, real)
    assert module.failed(torch.full_like(fair, float("nan")), real)


def test_swinging_means_fail_and_a_missing_range_does_not_count_where_it_is_not_determined():
    module = case("f22")
    real = 5 + 2 * torch.rand(2000, 1, generator=torch.Generator().manual_seed(0))
    assert module.failed(real, real, [real + 1.5])
    assert module.cured(6 + 0.5 * (real - 6), real)


def test_rows_of_the_same_code_are_read_again_and_a_cut_line_is_not(tmp_path):
    code = run.code_of("f04")
    run.append(tmp_path, {"arm": "admit", "case": "f04", "seed": 0, "code": code})
    run.append(tmp_path, {"arm": "admit", "case": "f04", "seed": 2, "code": "another"})
    with (tmp_path / "results.jsonl").open("a") as file:
        file.write('{"arm": "admit", "case": "f0')
    run.append(tmp_path, {"arm": "admit", "case": "f04", "seed": 1, "code": code})
    assert [key[2] for key in run.completed_rows(tmp_path)] == [0, 1]
    run.append(tmp_path, {"arm": "admit", "case": "f04", "seed": 0, "code": "another"})
    run.append(tmp_path, {"arm": "admit", "case": "f05", "seed": 0, "code": "long ago"})
    run.append(tmp_path, {"arm": "admit", "case": "f05", "seed": 1, "code": "before"})
    with_older = run.completed_rows(tmp_path, older=True)
    shown = {key[1:]: row.get("older", False) for key, row in with_older.items()}
    assert shown == {("f04", 0): False, ("f04", 2): True, ("f04", 1): False, ("f05", 1): True}


def test_an_arm_is_resumed(tmp_path, monkeypatch):
    module = SimpleNamespace(**{**vars(case("f22")), "STEPS": 30})
    monkeypatch.setattr(run, "case", lambda name: module)
    monkeypatch.setattr(run, "code_of", lambda name: "")
    monkeypatch.setattr(run.warnings, "simplefilter", lambda kind: warnings.filterwarnings("ignore", "discriminator"))
    for seeds in ((0,), (0, 1)):
        run.conduct("admit", ["f22"], seeds, tmp_path)
    lines = [json.loads(line) for line in (tmp_path / "results.jsonl").read_text().splitlines()]
    assert [line["seed"] for line in lines] == [0, 1]
    assert all("error" not in line and line["twin"]["measures"] for line in lines)
    assert {line["package"] for line in lines} == {run.version()}


@pytest.mark.parametrize("arm", ["default", "random"])
def test_the_arms_at_equal_compute_run_and_repeat(arm):
    module = SimpleNamespace(**{**vars(case("f04")), "STEPS": 8})
    first, again = (getattr(run, arm)(module, 3) for _ in range(2))
    assert first["measures"] == again["measures"]
    assert first["cost"] == 3


def test_the_table_counts_only_admitted_cases():
    good, bad = {"variance": 4.5, "modes": 8, "near": 0.95}, {"variance": 0.1, "modes": 0, "near": 0.0}
    rows = {}
    for seed in range(10):
        rows["admit", "f04", seed] = {"measures": bad, "twin": {"measures": good}}
        rows["admit", "f05", seed] = {"measures": good, "twin": {"measures": good}}
        rows["rescue", "f04", seed] = {"findings": ["collapse"], "measures": good if seed else bad, "cost": 2.0}
        rows["rescue", "f05", seed] = {"findings": ["wiring"], "measures": bad, "cost": 2.0}
        rows["default", "f04", seed] = {"measures": bad}
    text = table(rows, ["f04", "f05"])
    assert "| 10/10 | 10/10 | yes | 10/10 | 9/10 | 2.00 | 0/10 | – |" in text
    assert "| 0/10 | 10/10 | no |" in text
    assert "over the 1 admitted" in text
    assert "cured ≥ 90%: 90 %: holds" in text
    assert "named ≥ 90%: 100 %: holds" in text
