"""`detente compare`: equal budgets, a baseline tested against SciPy, rates by a sweep, going on where it stopped."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from scipy import stats

import detente
from detente import cli, methods, registry
from detente.cli import configuration
from detente.cli.commands import train
from detente.comparison import learning_rates as rates
from detente.comparison import sweep, tuning
from detente.errors import InvalidValue
from detente.games.quadratic import Bilinear, Quadratic
from detente.report.comparison import compare_to_baseline, read_comparison
from detente.report.run_directory import read_runs
from detente.training.run import Run
from detente.training.run_directory import record
from detente.training.run_directory.description import description
from detente.training.run_directory.status import NOT_OPTIONS, run_status
from tests.training.small_runs import assert_same_bits, lines, ring, saved

TINY = "--game ring --game.width 4 --game.depth 1 --game.batch 4 --samples 8 --compile off"
GRADIENTS = "optimizer=sgd,learning_rate=0.1"
Call = Callable[[str], tuple[int, str, str]]


@pytest.fixture
def call(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Iterator[Call]:
    monkeypatch.chdir(tmp_path)

    def called(line: str) -> tuple[int, str, str]:
        capsys.readouterr()
        status = cli.main(line.split())
        out, err = capsys.readouterr()
        return status, out, err

    yield called


def configuration_of(directory: str | Path) -> dict[str, Any]:
    return yaml.safe_load((Path(directory) / "run.yaml").read_text("utf-8"))


def status(directory: str | Path) -> dict[str, Any]:
    return json.loads((Path(directory) / "status.json").read_text("utf-8"))["seeds"]


# ---- Budgets -------------------------------------------------------------------------------------------------------


def test_equal_gradients_whatever_a_step_costs_and_ten_seeds(call: Call) -> None:
    code, out, err = call(f"compare {TINY} --methods simultaneous consensus --budget 12grads --out both")
    assert code == 0, err
    ends = {name: lines(Path("both") / name)[-1] for name in ("simultaneous", "consensus")}
    assert {name: (end["step"], end["gradient_evaluations"]) for name, end in ends.items()} == {
        "simultaneous": (6, 12), "consensus": (3, 12),
    }  # fmt: skip
    assert all("metrics" in end for end in ends.values())
    assert list(status("both/consensus")) == [str(seed) for seed in range(10)]
    assert {one["status"] for one in status("both/consensus").values()} == {"finished"}
    assert yaml.safe_load(Path("both/comparison.yaml").read_text("utf-8")) == {
        "baseline": "simultaneous", "budget": "12 gradient evaluations",
    }  # fmt: skip
    assert "Each seed had 12 gradient evaluations at most. Differences over 10 paired seeds" in out


def test_seconds_end_every_method_where_they_are_used_up(call: Call) -> None:
    code, out, err = call(f"compare {TINY} --methods simultaneous consensus --seeds 0 1 --budget 0.2s --out timed")
    assert code == 0, err
    for name in ("simultaneous", "consensus"):
        ticks = [json.loads(line) for line in Path(f"timed/{name}/metrics.jsonl").read_text("utf-8").splitlines()]
        mine = [tick for tick in ticks if tick["seed"] == 0]
        assert mine[-1]["seconds"] >= 0.2 > mine[-2]["seconds"] and "metrics" in mine[-1]
        assert status(f"timed/{name}")["0"]["status"] == "finished"
        assert configuration_of(f"timed/{name}")["seconds"] == 0.2
    assert " of 0.2 s, step " in out
    before = saved(Path("timed/consensus"))
    assert "consensus   : already finished." in call(
        f"compare {TINY} --methods simultaneous consensus --seeds 0 1 --budget 0.2s --out timed"
    )[1]  # fmt: skip
    assert_same_bits(saved(Path("timed/consensus")), before)


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("--budget 60", "budget: got '60'; allowed: a number with its unit"),
        ("--budget 60parsecs", "2e5grads"),
        ("--budget -5s", "budget"),
        ("--budget 0grads", "≥ 1"),
        ("--budget nans", "budget"),
        ("--budget", "budget"),
        ("--budget 5s --steps 3", "either --budget or --steps"),
        ("--budget 5s --seconds=3", "either --budget or --seconds"),
        ("--baseline consensu", "'consensus'"),
        ("--tune 0.001 quick", "tune: got '[0.001, quick]'; allowed: a list of numbers"),
        ("--tune 0", "tune: got 0.0; allowed: learning rates"),
        ("--seconds -1", "seconds: got -1.0"),
        ("--seconds soon", "seconds: got 'soon'; allowed: a number or None"),
    ],
)
def test_what_cannot_be_meant_gets_one_line(call: Call, line: str, expected: str) -> None:
    code, out, err = call(f"compare --game bilinear --methods simultaneous consensus --out out {line}")
    assert code == 2 and out == "" and expected in err and err.count("\n") == 1, err
    assert not Path("out").exists()


def test_what_cannot_be_compared_gets_one_line(call: Call, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DETENTE_CACHE", str(tmp_path / "cache"))  # without a classifier, digits have no metric
    for line, expected in {
        "--game bilinear --methods consensus consensus --out out": "each of them once",
        "--game digits --methods consensus --tune --out out": "a game with a metric",
        "--game bilinear --methods consensus --out file/out": "file/out",
    }.items():
        Path("file").write_text("", encoding="utf-8")
        code, _, err = call(f"compare {line}")
        assert code == 2 and expected in err and err.count("\n") == 1, err


# ---- The baseline --------------------------------------------------------------------------------------------------


def test_the_paired_statistics_are_scipys_of_what_was_recorded(call: Call) -> None:
    chosen = f"simultaneous:{GRADIENTS} consensus:strength=1,{GRADIENTS} extragradient:{GRADIENTS}"
    line = f"compare --game bilinear --methods {chosen} --baseline consensus:strength=1,{GRADIENTS}"
    code, out, err = call(f"{line} --budget 60grads --seeds 0 1 2 3 4 5 6 7 --compile off --out three")
    assert code == 0, err
    final = {
        path.name: {x["seed"]: x["metrics"]["distance_to_solution"] for x in lines(path) if "metrics" in x}
        for path in Path("three").iterdir()
        if path.is_dir()
    }
    comparison = compare_to_baseline(read_runs([Path("three")]), [Path("three")])
    assert comparison is not None and comparison.tests == 2
    names = sorted(final)
    base = np.array(list(final[names[comparison.baseline]].values()))
    assert names[comparison.baseline].startswith("consensus")
    (row,) = comparison.pairs
    ps = []
    for index, pair in row.items():
        ours = np.array(list(final[names[index]].values()))
        low, high = stats.ttest_rel(ours, base).confidence_interval(0.95)
        assert pair.difference is not None
        assert (pair.difference.low, pair.difference.high) == (pytest.approx(low), pytest.approx(high))
        ps.append(stats.wilcoxon(ours, base, method="exact")[1])
        assert pair.p == pytest.approx(ps[-1]) and pair.conclusion == "worse"
    assert sorted(pair.corrected for pair in row.values()) == pytest.approx([2 * min(ps), max(2 * min(ps), max(ps))])
    assert "(baseline)" in out and f"worse than {names[comparison.baseline]}: Distance to the solution (+" in out
    code, again, _ = call("report three --out page.html")
    assert code == 0 and f"worse than {names[comparison.baseline]}: Distance to the solution (+" in again
    assert "seed by seed" in Path("page.html").read_text("utf-8")


# ---- Rates ---------------------------------------------------------------------------------------------------------


def test_the_sweep_finds_the_rate_that_theory_says(call: Call) -> None:
    """Extragradient on f = xy multiplies the distance by √(1 − η² + η⁴): least at η = 1/√2, one at 1, more above."""
    line = "compare --game bilinear --methods extragradient:optimizer=sgd simultaneous:optimizer=sgd --seeds 0 1"
    line += " --steps 60 --compile off --tune 0.1 1e155 0.7 1.0 --out swept"
    code, out, err = call(line)
    assert code == 0, err
    tuning = json.loads(Path("swept/tuning.json").read_text("utf-8"))
    assert tuning["deciding"] == ["distance_to_solution"] and tuning["seeds"] == [1000, 1001, 1002]
    names = {path.name for path in Path("swept").iterdir() if path.is_dir()}
    one, other = sorted(names)
    extra = tuning["methods"][one]
    assert (extra["best"], extra["remark"]) == (0.7, "")
    assert extra["description"]["steps"] == 12 and extra["description"]["seeds"] == [1000, 1001, 1002]
    by_rate = {trial["rate"]: trial for trial in extra["trials"]}
    for rate in (0.1, 0.7, 1.0):
        starts = [math.hypot(*_start(seed)) for seed in (1000, 1001, 1002)]
        ends = [start * (1 - rate**2 + rate**4) ** (12 / 2) for start in starts]
        assert by_rate[rate]["values"]["distance_to_solution"] == pytest.approx(ends, rel=1e-6)
        assert by_rate[rate]["mean"] == pytest.approx(sum(ends) / 3, rel=1e-6)
    assert by_rate[1e155]["diverged"] == [1000, 1001, 1002] and by_rate[1e155]["mean"] is None
    plain = tuning["methods"][other]  # plain simultaneous steps lead away at any rate, least at the smallest
    assert plain["best"] == 0.1 and plain["remark"].startswith("at the edge")
    assert configuration_of(Path("swept") / one)["method"]["init_args"]["learning_rate"] == 0.7
    assert configuration_of(Path("swept") / one)["seeds"] == [0, 1]
    assert f"{other}: learning rate 0.1; at the edge" in out
    page = Path("swept/report.html").read_text("utf-8")
    assert "Learning rates swept beforehand" in page and "3 diverged" in page
    # The same again tries nothing and trains nothing; rates that were tried are not tried again.
    code, again, _ = call(line)
    assert code == 0 and " at 0.7: step" not in again and again.count("already finished.") == 2
    code, more, err = call(line.replace("--tune", "--tune 0.5") + " --overwrite")
    assert code == 0 and more.count(" at 0.7: step") == 2, "all anew where all is to be replaced"


def _start(seed: int) -> tuple[float, float]:
    import torch

    vectors, _ = Bilinear().initial(torch.Generator().manual_seed(seed))
    return float(vectors["x"]), float(vectors["y"])


def test_a_sweep_that_was_stopped_goes_on_with_the_rates_left(call: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    line = f"compare --game bilinear --methods extragradient:{GRADIENTS} --seeds 0 --steps 10 --compile off"
    run_trial, rates_so_far = sweep.run_trial, []

    def third_time(run: Run, rate: float, track: sweep.Track) -> sweep.Trial:
        rates_so_far.append(rate)
        if len(rates_so_far) == 3:
            raise KeyboardInterrupt
        return run_trial(run, rate, track)

    monkeypatch.setattr(sweep, "run_trial", third_time)
    code, out, _ = call(f"{line} --tune --out cut")
    assert (
        code == 130 and "Continue with the same command" in out and not any(p.is_dir() for p in Path("cut").iterdir())
    )
    code, _, err = call(f"{line} --tune --out cut")
    assert code == 0, err
    assert rates_so_far == pytest.approx([0.01, 0.03, 0.1, 0.1, 0.3, 1.0])


@pytest.mark.parametrize("name", sorted(set(registry.choices("methods")) - {"method"}))
def test_every_methods_rates_are_reached_or_said_not_to_be(name: str) -> None:
    """The rates are multiplied by the factor, and nothing else in the configuration changes."""
    method = registry.choices("methods")[name]()
    own = rates.rates(method)
    assert own, "every method of the table has rates"
    for game in ("ring", "bilinear", "digits"):
        try:
            parser = configuration.parser("train", "")
            options = configuration.parse(parser, ["--game", game, "--method", name])
            run = configuration.build(options)
        except InvalidValue:
            continue
        content = configuration.resolved(options)
        choices = tuning.runs_by_rate(run, content, [], configuration.rebuilt)
        assert len(choices) == len(sweep.FACTORS), f"{name} cannot be tuned"
        for rate, (made, described) in choices.items():
            assert rates.rates_match(own, rates.rates(made.method), rate / own[0])
            assert {**described, "method": 0} == {**content, "method": 0}
        return
    pytest.skip("needs a game of its own")


def test_rates_are_found_at_every_depth() -> None:
    linear = {"class_path": "detente.schedule.Linear", "init_args": {"start": 0.1, "end": 0.01, "steps": 9}}
    adam = {"class_path": "a.Adam", "init_args": {"learning_rate": linear, "betas": [0.5, 0.9]}}
    clipped = {"class_path": "a.Clipped", "init_args": {"optimizer": {"init_args": {"learning_rate": 0.2}}, "bound": 1}}
    configuration = {"class_path": "m", "init_args": {"optimizer": {"x": adam, "y": clipped}, "learning_rate": None}}
    scaled = rates.scale_rates(configuration, 3, 7.0)["init_args"]
    assert scaled["learning_rate"] is None, "built optimizers have their own"
    assert scaled["optimizer"]["x"]["init_args"] == {
        "learning_rate": {**linear, "init_args": {"start": 0.3, "end": 0.03, "steps": 9}}, "betas": [0.5, 0.9],
    }  # fmt: skip
    assert scaled["optimizer"]["y"]["init_args"] == {"optimizer": {"init_args": {"learning_rate": 0.6}}, "bound": 1}
    assert rates.scale_rates({"class_path": "m", "init_args": {"learning_rate": None}}, 3, 1e-4)["init_args"] == {
        "learning_rate": 3e-4
    }
    assert not rates.rates_match([1.0, 2.0], [3.0, 2.0], 3.0) and not rates.rates_match([], [], 1.0)
    assert rates.rates_match([1.0, 2.0], [3.0, 3.0], 3.0), "one rate for all is a rate to sweep too"


def test_the_best_rate_loses_no_seed_then_decides_then_ties_by_what_follows() -> None:
    def trial(rate: float, modes: float, share: float, lost: int = 0) -> sweep.Trial:
        return sweep.Trial(rate, {"modes": [modes], "share": [share]}, modes, list(range(lost)))

    better = {"modes": "higher", "share": "lower"}
    a, b, c, d = trial(0.1, 5, 3), trial(0.3, 8, 2), trial(1, 8, 1), trial(3, 99, 0, lost=1)
    assert sweep.best_trial([a, b, c, d], better, 0.1) is c
    assert sweep.remark([a, b, c, d], c, better) == ""
    assert "edge" in sweep.remark([a, b, c], c, better)
    alike = [trial(rate, 0, 0) for rate in (0.01, 0.1, 1.0)]
    assert (
        sweep.best_trial(alike, better, 0.1).rate == 0.1
        and sweep.remark(alike, alike[1], better) == "all rates gave the same result"
    )
    assert sweep.remark([d], d, better) == "seeds diverged at every rate"
    assert list(sweep.metric_directions(ring()))[:2] == ["modes_covered", "high_quality_fraction"]


# ---- Going on ------------------------------------------------------------------------------------------------------

PLAIN = "--game bilinear --methods optimistic extragradient --seeds 0 1 --steps 12 --record_every 2 --compile off"


def test_the_same_command_goes_on_where_it_was_interrupted(call: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    assert call(f"compare {PLAIN} --out whole")[0] == 0
    follow, steps = train.with_progress_bar, []

    def cut(ticks: Iterator[Any], *rest: Any) -> Iterator[Any]:
        for tick in follow(ticks, *rest):
            steps.append(tick.step)
            if len(steps) == 17:  # the fourth tick of the second method
                raise KeyboardInterrupt
            yield tick

    with monkeypatch.context() as patch:
        patch.setattr(train, "with_progress_bar", cut)
        code, out, _ = call(f"compare {PLAIN} --out parts")
    assert code == 130 and "Continue the comparison with the same command." in out
    assert {entry["status"] for entry in status("parts/extragradient").values()} == {"interrupted"}
    contents = {path: path.read_bytes() for path in Path("parts/optimistic").rglob("*") if path.is_file()}
    code, out, err = call(f"compare {PLAIN} --out parts")
    assert code == 0 and "optimistic   : already finished." in out and "extragradient: finished" not in out, err
    assert {path: path.read_bytes() for path in Path("parts/optimistic").rglob("*") if path.is_file()} == contents
    for name in ("optimistic", "extragradient"):
        assert_same_bits(saved(Path("parts") / name), saved(Path("whole") / name))
        assert lines(Path("parts") / name) == lines(Path("whole") / name)


def test_other_runs_are_refused_before_anything_is_trained(call: Call) -> None:
    assert call(f"compare {PLAIN} --out mine")[0] == 0
    before = {path: path.read_bytes() for path in Path("mine").rglob("*") if path.is_file()}
    for other in (
        PLAIN.replace("--steps 12", "--steps 14"),
        PLAIN.replace("optimistic", "consensus optimistic:learning_rate=1"),
    ):
        line = f"compare {other.replace('optimistic:learning_rate=1', 'optimistic')} --out mine"
        line = line if "14" in other else f"{line} --samples 9"
        code, _, err = call(line)
        assert code == 2 and "--overwrite" in err and err.count("\n") == 1
        assert {path: path.read_bytes() for path in Path("mine").rglob("*") if path.is_file()} == before
    code, out, _ = call(f"compare {PLAIN.replace('optimistic', 'optimistic simultaneous')} --out mine")
    assert code == 0 and out.count("already finished.") == 2, "a method more is trained beside those that are there"
    code, out, _ = call(f"compare {PLAIN.replace('--steps 12', '--steps 14')} --overwrite --out mine")
    assert code == 0 and {
        configuration_of(Path("mine") / name)["steps"] for name in ("optimistic", "extragradient")
    } == {14}
    code, _, err = call(f"compare {PLAIN} --out mine/optimistic")
    assert code == 2 and "not a run directory" in err


def test_how_far_a_run_has_come_is_read_from_its_directory(call: Call, tmp_path: Path) -> None:
    assert call(f"compare {PLAIN} --out here")[0] == 0
    path, same = (
        Path("here/optimistic"),
        {k: v for k, v in configuration_of("here/optimistic").items() if v is not None},
    )
    same = {key: value for key, value in same.items() if key not in NOT_OPTIONS}
    assert run_status(path, same) == "finished"
    assert run_status(path, {**same, "device": None}) == "other"
    assert run_status(tmp_path / "nowhere", same) == "absent"
    (path / "status.json").write_text("{", encoding="utf-8")
    assert run_status(path, same) == "unfinished"
    for broken in ("[unclosed", "3", ""):
        (path / "run.yaml").write_text(broken, encoding="utf-8")
        assert run_status(path, same) == "other"
    (path / "run.yaml").unlink()
    assert run_status(path, same) == "other"


# ---- From Python ---------------------------------------------------------------------------------------------------


def test_objects_are_compared_as_words_are(tmp_path: Path) -> None:
    chosen = {"plain": methods.simultaneous("sgd", 0.1), "pulled": methods.consensus(1.0, "sgd", 0.1)}
    game: dict[str, Any] = {"budget": "24grads", "seeds": range(3), "compile": "off"}
    page = detente.compare(Bilinear(), chosen, tmp_path / "mine", baseline="pulled", **game)
    assert page.is_file() and "pulled" in page.read_text("utf-8")
    comparison = read_comparison([tmp_path / "mine"])
    assert comparison is not None and comparison.baseline == "pulled"
    assert {name: lines(tmp_path / "mine" / name)[-1]["gradient_evaluations"] for name in chosen} == dict.fromkeys(
        chosen, 24
    )
    words = "simultaneous:optimizer=sgd,learning_rate=0.1"
    shell = (
        f"compare --game bilinear --methods {words} --budget 24grads --seeds 0 1 2 --compile off --out {tmp_path}/shell"
    )
    assert cli.main(shell.split()) == 0
    (same,) = [path for path in (tmp_path / "shell").iterdir() if path.is_dir()]
    assert_same_bits(saved(tmp_path / "mine" / "plain"), saved(same))
    records = {path: path.stat().st_mtime_ns for path in (tmp_path / "mine").glob("*/metrics.jsonl")}
    detente.compare(Bilinear(), chosen, tmp_path / "mine", baseline="plain", **game)
    assert len(records) == 2 and {path: path.stat().st_mtime_ns for path in records} == records, (
        "finished runs are kept"
    )
    for other, changed in (
        (Bilinear(scale=2.0), chosen),
        (Bilinear(), {**chosen, "plain": methods.simultaneous("sgd", 0.2)}),
    ):
        with pytest.raises(InvalidValue, match="overwrite"):
            detente.compare(other, changed, tmp_path / "mine", **game)


def test_a_game_is_known_by_its_numbers() -> None:
    plain, same, dropout = (
        description(Run(game, methods.alternating()))["game"] for game in (ring(), ring(), ring(dropout=True))
    )
    assert plain == same and yaml.safe_dump(plain)
    matrix = [[1.0]]
    games = [Bilinear(), Bilinear(scale=2.0), Bilinear(2), Quadratic(matrix, matrix, matrix), ring(batch_norm=False)]
    fingerprints = [description(Run(game, methods.simultaneous()))["game"]["fingerprint"] for game in games]
    assert len({*fingerprints, plain["fingerprint"]}) == len(games) + 1
    del dropout


def test_a_comparison_from_python_prints_nothing_and_saves_what_an_interrupt_leaves(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupted(*arguments: Any, **options: Any) -> Iterator[Any]:
        for tick in train_run(*arguments, **options):
            if tick.step >= 2:
                raise KeyboardInterrupt
            yield tick

    train_run = record.train
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(record, "train", interrupted)
        detente.compare(Bilinear(), {"plain": methods.simultaneous()}, tmp_path / "out", steps=4, record_every=1)
    saved = json.loads((tmp_path / "out/plain/status.json").read_text("utf-8"))["seeds"]["0"]
    assert (saved["status"], saved["step"]) == ("interrupted", 1)
    detente.compare(Bilinear(), {"plain": methods.simultaneous()}, tmp_path / "out", steps=4, record_every=1)
    assert json.loads((tmp_path / "out/plain/status.json").read_text("utf-8"))["seeds"]["0"]["status"] == "finished"
    assert capsys.readouterr() == ("", "")
    for wrong in ({}, {"a b": methods.simultaneous(), "a-b": methods.simultaneous()}):
        with pytest.raises(InvalidValue, match="methods"):
            detente.compare(Bilinear(), wrong, tmp_path / "out")
