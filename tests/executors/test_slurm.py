"""Slurm, by submitit's local executor: jobs give bitwise equal results and save their state when stopped."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from detente.comparison.grid import carry_out_grid, last_state
from detente.errors import InvalidValue
from detente.executors.base import Ended
from detente.executors.here import Here
from detente.executors.slurm import Slurm
from tests.executors import tasks
from tests.training.small_runs import assert_same_bits, saved

pytest.importorskip("submitit")

LOCAL = Slurm({"cluster": "local"})


def test_killed_and_stopped_jobs_end_bitwise_equal_to_an_uninterrupted_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parents[2]), prepend=":")
    gate = tmp_path / "gate"
    dies = tasks.run(metrics=(tasks.DiesOnce(str(tmp_path / "reached")),))
    grid = carry_out_grid(tasks.cells(tmp_path / "grid", dies), LOCAL, tmp_path)
    assert last_state(grid)["cell0"].status == "finished" and (tmp_path / "reached").exists()
    last_state(carry_out_grid(tasks.cells(tmp_path / "here", dies), Here(), tmp_path))
    assert_same_bits(saved(tmp_path / "grid/cell0"), saved(tmp_path / "here/cell0"))
    with LOCAL.open(tmp_path) as session:
        session.submit("work", tasks.wait_for_the_end, gate)
        while not gate.with_suffix(".begun").exists():
            assert session.wait(0.1) == []
    assert gate.read_text() == "saved"  # by the file that tells running jobs to stop
    with LOCAL.open(tmp_path) as session:
        session.submit("work", tasks.wait_for_the_end, gate)
        assert session.wait(60.0) == [Ended("work")]
    assert json.loads((tmp_path / "grid/cell0/status.json").read_text())["seeds"]["0"]["status"] == "finished"


def test_unknown_slurm_options_give_a_one_line_error(tmp_path: Path) -> None:
    with pytest.raises(InvalidValue, match="Unknown argument 'partion'"):
        Slurm({"cluster": "local", "partion": "gpu"}).open(tmp_path)
    with pytest.raises(InvalidValue, match="--slurm.cluster local"):  # where there is no Slurm
        Slurm({"partition": "gpu"}).open(tmp_path)
