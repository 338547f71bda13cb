"""Reading run directories: missing, broken or unfinished parts are skipped and noted."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from detente.errors import InvalidValue
from detente.report.run_directory import find_runs, read_run, read_runs

MakeRun = Callable[..., Path]


def test_complete_run_is_read(make_run: MakeRun, tmp_path: Path) -> None:
    run = read_run(make_run(tmp_path / "gda", steps=300, seeds=(0, 3)), "gda")
    assert list(run.seeds) == [0, 3] and run.notes == ()
    assert [tick.step for tick in run.ticks[3]] == list(range(10, 301, 10))
    assert run.ticks[0][-1].gradient_evaluations == 600
    assert run.metrics["modes_covered"].better == "higher" and run.metrics["modes_covered"].unit == "modes"
    assert run.configuration["game"]["data"]["modes"] == 8
    assert run.execution == "cpu, 2 threads, compiled, 10 steps a graph, 3 seeds in one"


def test_truncated_last_line_is_skipped_and_noted(make_run: MakeRun, tmp_path: Path) -> None:
    path = make_run(tmp_path / "gda", steps=300, seeds=(0,))
    whole = (path / "metrics.jsonl").read_text()
    (path / "metrics.jsonl").write_text(whole[:-25])
    run = read_run(path, "gda")
    assert run.ticks[0][-1].step == 290
    assert run.notes == ("metrics.jsonl: 1 unreadable line(s) skipped (line 30).",)


@pytest.mark.parametrize("line", ["[1, 2]", "null", '{"seed": 0}', '{"seed": null, "step": 1}', "{", "\x00\x00"])
def test_invalid_lines_are_skipped_and_noted(make_run: MakeRun, tmp_path: Path, line: str) -> None:
    path = make_run(tmp_path / "gda", steps=300, seeds=(0,))
    with (path / "metrics.jsonl").open("a") as file:
        file.write(line + "\n")
    run = read_run(path, "gda")
    assert len(run.ticks[0]) == 30 and len(run.notes) == 1


def test_values_that_are_not_finite_become_none(tmp_path: Path) -> None:
    tick = {"seed": 0, "step": 1, "losses": {"a": float("nan"), "b": None, "c": True, "d": 2}}
    (tmp_path / "metrics.jsonl").write_text(json.dumps(tick))
    values = read_run(tmp_path, "x").ticks[0][0].values
    assert values == {("losses", "a"): None, ("losses", "b"): None, ("losses", "c"): None, ("losses", "d"): 2.0}


def test_later_line_of_a_resumed_run_counts(tmp_path: Path) -> None:
    lines = [{"seed": 0, "step": step, "losses": {"a": value}} for step, value in ((1, 1.0), (2, 2.0), (1, 5.0))]
    (tmp_path / "metrics.jsonl").write_text("\n".join(map(json.dumps, lines)))
    ticks = read_run(tmp_path, "x").ticks[0]
    assert [(tick.step, tick.values["losses", "a"]) for tick in ticks] == [(1, 5.0), (2, 2.0)]


def test_broken_configuration_alone_is_a_run(tmp_path: Path) -> None:
    (tmp_path / "run.yaml").write_text("steps: [unclosed")
    run = read_run(tmp_path, "x")
    assert run.seeds == {} and run.configuration == {}
    assert any("run.yaml could not be read" in note for note in run.notes)
    assert "metrics.jsonl is missing." in run.notes and "status.json is missing." in run.notes


def test_seeds_without_status_come_from_the_ticks(make_run: MakeRun, tmp_path: Path) -> None:
    path = make_run(tmp_path / "gda", steps=300, seeds=(0, 1))
    (path / "status.json").unlink()
    status = read_run(path, "gda").seeds[1]
    assert (status.status, status.step) == ("unknown", 300)
    assert status.seconds == pytest.approx(1.2)


def test_diverged_seed_without_a_step_uses_its_last_step(make_run: MakeRun, tmp_path: Path) -> None:
    path = make_run(tmp_path / "gda", steps=300, seeds=(0,))
    status = {"seeds": {"0": {"status": "diverged", "step": 120, "seconds": 1.0, "diverged_at": None}}}
    (path / "status.json").write_text(json.dumps(status))
    run = read_run(path, "gda")
    assert run.diverged == (0,) and run.seeds[0].diverged_at == 120


def test_paths_may_be_runs_and_folders_of_runs(make_run: MakeRun, tmp_path: Path) -> None:
    first, second = make_run(tmp_path / "c" / "b"), make_run(tmp_path / "c" / "a")
    (tmp_path / "c" / "notes").mkdir()
    assert find_runs([tmp_path / "c"]) == [second, first]
    assert find_runs([first, tmp_path / "c"]) == [first, second]


def test_equal_names_get_the_name_of_their_parent(make_run: MakeRun, tmp_path: Path) -> None:
    paths = [make_run(tmp_path / parent / "gda", snapshots=0) for parent in ("one", "two")]
    assert [run.name for run in read_runs(paths)] == ["one/gda", "two/gda"]


def test_paths_without_a_run_are_refused(tmp_path: Path) -> None:
    for paths in ([tmp_path], [tmp_path / "absent"], []):
        with pytest.raises(InvalidValue, match="paths: got"):
            find_runs(paths)
