"""Grids: every executor is bitwise equal to trainings in turn; split seeds equal the unsplit run."""

from __future__ import annotations

import io
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

import detente
from detente import cli, methods
from detente.cli.grid_display import follow_grid
from detente.cli.terminal import Console
from detente.comparison.grid import CellState, carry_out_grid, last_state, named_executor, require_success
from detente.errors import InvalidValue
from detente.executors.here import Here
from detente.executors.processes import Processes
from detente.games.quadratic import Bilinear
from detente.report.page import write_report
from detente.report.run_directory import read_runs
from detente.report.run_progress import RunProgress
from detente.training.run_directory.joining import part_directory
from tests.executors import tasks
from tests.training.small_runs import COSTS, assert_same_bits, lines, ring, saved

SETTINGS: dict[str, Any] = {
    "steps": 20, "samples": 8, "compile": "off", "record_every": 5, "measure_every": 10, "loggers": (),
}  # fmt: skip


def kinds() -> dict[str, Any]:
    return {"alternating": methods.alternating(), "extragradient": methods.extragradient()}


def statuses(directory: Path) -> Mapping[str, Any]:
    entries = json.loads((directory / "status.json").read_text("utf-8"))["seeds"]
    return {seed: {k: v for k, v in entry.items() if k not in COSTS} for seed, entry in entries.items()}


def test_killed_and_stopped_cells_end_bitwise_equal_to_uninterrupted_ones(tmp_path: Path) -> None:
    """A process is killed at step 20, after a checkpoint at step 10; another is stopped while it waits there."""
    reached, gate = tmp_path / "reached", tmp_path / "gate"
    runs = [
        tasks.run(0.1, metrics=(tasks.DiesOnce(str(reached)),)),
        tasks.run(0.2, metrics=(tasks.Waits(str(gate)),)),
        tasks.run(0.3),
    ]
    grid = carry_out_grid(tasks.cells(tmp_path / "grid", *runs), Processes(workers=2), tmp_path)
    for states in grid:
        if states["cell0"].status == states["cell2"].status == "finished" and states["cell1"].progress.step >= 10:
            grid.close()  # as Ctrl-C does
    assert reached.exists()
    (status,) = {entry["status"] for entry in statuses(tmp_path / "grid/cell1").values()}
    assert status == "interrupted" and lines(tmp_path / "grid/cell1")[-1]["step"] < 20
    gate.touch()
    end = last_state(carry_out_grid(tasks.cells(tmp_path / "grid", *runs), Processes(workers=2), tmp_path))
    assert {state.status for state in end.values()} == {"finished"}
    last_state(carry_out_grid(tasks.cells(tmp_path / "here", *runs), Here(), tmp_path))
    for cell in ("cell0", "cell1", "cell2"):
        assert_same_bits(saved(tmp_path / "grid" / cell), saved(tmp_path / "here" / cell))
        assert lines(tmp_path / "grid" / cell) == lines(tmp_path / "here" / cell)


def test_a_failed_cell_is_named_and_the_others_continue(tmp_path: Path) -> None:
    (tmp_path / "cell0").mkdir()
    (tmp_path / "cell0/letter.txt").write_text("mine")
    states = last_state(carry_out_grid(tasks.cells(tmp_path, tasks.run(), tasks.run(0.2)), Here(), tmp_path))
    assert [state.status for state in states.values()] == ["failed", "finished"]
    with pytest.raises(InvalidValue, match="cells: got 'cell0'.*a new directory, or one that contains the same run"):
        require_success(states)
    assert (tmp_path / "cell0/letter.txt").read_text() == "mine"


def test_runs_that_cannot_be_pickled_are_refused_before_anything_starts(tmp_path: Path) -> None:
    with pytest.raises(InvalidValue) as caught:  # its networks are functions inside a function
        detente.compare(ring(), kinds(), tmp_path / "out", executor="processes", **SETTINGS)
    assert caught.value.field == "game" and caught.value.value == "Adversarial"
    assert "no lambda" in str(caught.value)
    assert not list((tmp_path / "out").glob("*/run.yaml"))
    with pytest.raises(InvalidValue, match="Did you mean 'processes'"):
        named_executor("process")


def test_split_seeds_are_joined_to_the_run_with_all_seeds(tmp_path: Path) -> None:
    together, split = tmp_path / "together", tmp_path / "split"
    settings = {"seeds": (3, 0), **SETTINGS}
    detente.compare(ring(), kinds(), together, **settings)
    detente.compare(ring(), kinds(), split, split_seeds=True, **settings)
    for label in kinds():
        joint, other = together / label, split / label
        assert_same_bits(saved(other), saved(joint))
        assert lines(other) == lines(joint)
        assert statuses(other) == statuses(joint)
        files = [sorted(str(path.relative_to(folder)) for path in folder.rglob("*.*")) for folder in (joint, other)]
        assert [name for name in files[0] if "step000000000" not in name and "checkpoint" not in name] == [
            name for name in files[1] if "step000000000" not in name and "checkpoint" not in name
        ]
        for file in ("run.yaml", "metrics.json"):
            assert yaml.safe_load((other / file).read_text("utf-8")) == yaml.safe_load(
                (joint / file).read_text("utf-8")
            )
    assert [run.seeds.keys() for run in read_runs([split])] == [run.seeds.keys() for run in read_runs([together])]
    before = saved(split / "alternating")
    detente.compare(ring(), kinds(), split, split_seeds=True, **settings)  # already finished
    assert_same_bits(saved(split / "alternating"), before)


def test_seeds_in_progress_are_reported_and_resume_only_with_the_same_split(tmp_path: Path) -> None:
    run, split = tasks.run(), {"seeds": (0, 1), "split_seeds": True, **SETTINGS}
    parts = tasks.cells(tmp_path, *(tasks.run(seeds=(seed,), metrics=(tasks.Waits("/"),)) for seed in (0, 1)))
    last_state(carry_out_grid(parts, Here(), tmp_path))
    for seed in run.seeds:
        part_directory(tmp_path / "grid/one", seed).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / f"cell{seed}").rename(part_directory(tmp_path / "grid/one", seed))
    (read,) = read_runs([tmp_path / "grid"])
    assert read.name == "one" and list(read.seeds) == [0, 1] and read.notes == ()
    assert {seed: ticks[-1].step for seed, ticks in read.ticks.items()} == {0: 40, 1: 40}
    assert "one" in write_report([tmp_path / "grid"], tmp_path / "page.html").read_text("utf-8")
    with pytest.raises(InvalidValue, match="started with --split-seeds"):
        detente.compare(Bilinear(3), {"one": methods.alternating()}, tmp_path / "grid", seeds=(0, 1), **SETTINGS)
    detente.compare(Bilinear(3), {"one": methods.alternating()}, tmp_path / "other", seeds=(0, 1), **SETTINGS)
    status = json.loads((tmp_path / "other/one/status.json").read_text("utf-8"))
    status["seeds"]["1"]["status"] = "interrupted"
    (tmp_path / "other/one/status.json").write_text(json.dumps(status))
    with pytest.raises(InvalidValue, match="started without --split-seeds"):
        detente.compare(Bilinear(3), {"one": methods.alternating()}, tmp_path / "other", **split)
    detente.compare(Bilinear(3), {"one": methods.alternating()}, tmp_path / "grid", overwrite=True, **split)
    assert not (tmp_path / "grid/one/parts").exists() and lines(tmp_path / "grid/one")[-1]["step"] == 20


def test_a_grid_on_processes_equals_and_resumes_as_one_in_this_process(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine_of_a_grid.py").write_text(
        "from detente.games.quadratic import Bilinear\ndef game(dimension: int = 3):\n    return Bilinear(dimension)\n"
    )
    line = "compare --game mine_of_a_grid.game --methods alternating extragradient --seeds 0 1 --steps 20 --compile off"
    processes = f"{line} --executor processes --workers 2 --split-seeds --out grid"
    assert cli.main(processes.split()) == 0, capsys.readouterr().err
    output = capsys.readouterr().out
    assert output.count(": step 20 of 20") == 4 and "The page: grid/report.html" in output
    assert cli.main(f"{line} --out here".split()) == 0 and cli.main(f"{line} --out grid".split()) == 0
    assert capsys.readouterr().out.count("already finished.") == 2
    for label in ("alternating", "extragradient"):
        assert_same_bits(saved(tmp_path / "grid" / label), saved(tmp_path / "here" / label))
        written = [
            yaml.safe_load((tmp_path / name / label / "run.yaml").read_text("utf-8")) for name in ("grid", "here")
        ]
        assert written[0] == written[1]  # also the command line and the folder


def test_a_learning_rate_sweep_on_processes_equals_one_in_this_process(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    line = "compare --game bilinear --methods simultaneous:optimizer=sgd --seeds 0 --steps 60 --compile off"
    assert cli.main(f"{line} --tune 0.1 1e38 --out here".split()) == 0, capsys.readouterr().err
    there = f"{line} --tune 0.1 1e38 --executor processes --workers 1 --out there"
    assert cli.main(there.split()) == 0, capsys.readouterr().err
    tuned = [json.loads((tmp_path / name / "tuning.json").read_text("utf-8")) for name in ("here", "there")]
    assert tuned[0] == tuned[1] and not (tmp_path / "there/tuning").exists()
    trials = tuned[1]["methods"]["simultaneous-optimizer=sgd"]["trials"]
    assert [trial["diverged"] for trial in trials] == [[], [1000, 1001, 1002]]
    assert "simultaneous-optimizer=sgd: learning rate 0.1" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("--executor process", "executor: got 'process'; allowed: here, processes, ray, slurm. Did you mean"),
        ("--workers 2", "workers: got 2; allowed: an option of --executor processes or ray or slurm"),
        ("--executor processes --workers 0", "workers: got 0; allowed: an integer ≥ 1"),
        ("--executor processes --address auto", "address: got 'auto'; allowed: an option of --executor ray"),
        ("--executor ray --gpus -1", "gpus: got -1.0; allowed: a number ≥ 0"),
        ("--slurm.partition gpu", "slurm.partition: got 'gpu'; allowed: an option of --executor slurm"),
        ("--executor slurm --slurm.partition", "slurm.partition: got no value; allowed: a value"),
    ],
)
def test_invalid_executor_options_give_one_line_errors(
    words: str, expected: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert cli.main(f"compare --game bilinear --methods alternating --steps 5 --out out {words}".split()) == 2
    error = capsys.readouterr().err
    assert expected in error and error.count("\n") == 1, error
    assert not (tmp_path / "out").exists()


def test_a_terminal_shows_a_bar_for_each_cell_and_of_a_large_grid_for_those_in_training() -> None:
    states = {
        "done": CellState("finished", RunProgress(step=20, ended=True)),
        "now": CellState("training", RunProgress(step=7)),
        "lost": CellState("failed", RunProgress(), "it fell"),
        "next": CellState(),
    }
    small, large = (_shown(states, count) for count in (0, 20))
    assert "1 of 4 finished, 1 in training, 1 failed" in small
    for text in ("step 20 of 20", "step 7 of 20", "failed: it fell", "waits"):
        assert text in small
    assert "step 7 of 20" in large and "it fell" not in large and "1 of 24 finished" in large


def _shown(states: dict[str, CellState], others: int) -> str:
    states = {**states, **{f"other{i}": CellState() for i in range(others)}}
    target = Console(file=io.StringIO(), force_terminal=True, width=120)
    follow_grid(iter([states]), {name: {"steps": 20} for name in states}, target)
    return target.file.getvalue()  # pyright: ignore[reportAttributeAccessIssue]
