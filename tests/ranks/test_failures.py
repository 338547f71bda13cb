"""Ranks that are killed, stopped, slow, missing or different: nothing is lost, and errors are one line."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

from detente.training.run_directory import checkpoint
from tests.ranks.forked import TRAIN
from tests.ranks.shared_folder import filled_once
from tests.training.small_runs import assert_same_bits, lines, saved

pytestmark = pytest.mark.slow  # all use the fixture that carries out every scenario
ROOT = Path(__file__).parents[2]
ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1", "TORCH_CPP_LOG_LEVEL": "ERROR"}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder in which all scenarios were carried out."""

    def carry_out(folder: Path) -> None:
        words = [sys.executable, "-m", "tests.ranks.forked", str(folder)]
        completed = subprocess.run(words, cwd=ROOT, env=ENVIRONMENT, capture_output=True, text=True, timeout=300)
        assert completed.returncode == 0, completed.stderr

    return filled_once(tmp_path_factory, "failures", carry_out)


@pytest.fixture
def results(folder: Path) -> dict[str, Any]:
    """The result of each scenario."""
    return json.loads((folder / "results.json").read_text(encoding="utf-8"))


def complaints(result: dict[str, Any]) -> list[str]:
    """Return the error lines of all ranks; the rest of the output may only be warnings and progress."""
    output = result["text"].splitlines()
    assert not [line for line in output if "Traceback" in line or "frame #" in line], result["text"]
    return [line for line in output if line.startswith("detente:") and "warning:" not in line]


def last_step(directory: Path) -> int:
    return checkpoint.step_of(checkpoint.files(directory / "checkpoints")[-1])


def status(directory: Path) -> dict[str, Any]:
    return json.loads((directory / "status.json").read_text(encoding="utf-8"))


def test_the_number_of_ranks_is_recorded(folder: Path, results: dict[str, Any]) -> None:
    assert results["whole"]["statuses"] == [{"0": 0, "1": 0}]
    assert results["whole"]["text"].count("are few for 2 ranks") == 1  # said once
    assert status(folder / "whole")["ranks"] == 2
    assert "2 ranks" in status(folder / "whole")["execution"]
    assert yaml.safe_load((folder / "whole" / "run.yaml").read_text(encoding="utf-8"))["ranks"] == 2
    assert "ranks" not in status(folder / "alone")


@pytest.mark.parametrize(("name", "victim"), [("killed0", 0), ("killed1", 1), ("replaced", 1)])
def test_a_run_restarted_after_a_killed_rank_equals_an_uninterrupted_one(
    folder: Path, results: dict[str, Any], name: str, victim: int
) -> None:
    first, second = results[name]["statuses"]
    assert first[str(victim)] == -9
    assert second == {"0": 0, "1": 0}
    assert_same_bits(saved(folder / name), saved(folder / "whole"))
    assert lines(folder / name) == lines(folder / "whole")


def test_a_lost_rank_gives_a_one_line_error_and_keeps_the_checkpoint(folder: Path, results: dict[str, Any]) -> None:
    (line,) = complaints(results["killed"])
    assert "rank 0 of 2 lost the connection to another rank" in line
    assert results["killed"]["statuses"] == [{"0": 1, "1": -9}]
    assert last_step(folder / "killed") == 20


def test_the_same_command_continues_with_resume(folder: Path, results: dict[str, Any]) -> None:
    assert results["requeued"]["statuses"] == [{"0": 0, "1": 0}], results["requeued"]["text"]
    assert_same_bits(saved(folder / "requeued"), saved(folder / "whole"))
    assert lines(folder / "requeued") == lines(folder / "whole")


def test_a_signal_to_one_rank_stops_all_at_one_step(folder: Path, results: dict[str, Any]) -> None:
    (statuses,) = results["stopped"]["statuses"]
    assert statuses["0"] in (143, -15)  # one of them may be ended when the other has ended
    assert statuses["1"] in (143, -15)
    assert "Stopped at step 30; saved." in results["stopped"]["text"]
    assert not complaints(results["stopped"])
    assert results["resumed"]["statuses"] == [{"0": 0, "1": 0}]
    assert_same_bits(saved(folder / "stopped"), saved(folder / "whole"))
    assert lines(folder / "stopped") == lines(folder / "whole")


def test_resuming_with_fewer_ranks_differs_only_by_rounding(folder: Path, results: dict[str, Any]) -> None:
    assert results["fewer"]["statuses"] == [{"0": 0}]
    actual, expected = saved(folder / "exact"), saved(folder / "exact-alone")
    assert last_step(folder / "exact") == 60
    for name in ("0/state/vectors/generator", "0/state/vectors/discriminator"):
        assert float((actual[name] - expected[name]).norm() / expected[name].norm()) <= 1e-11
    assert (actual["0/random"] == expected["0/random"]).all()  # the same batches, for any number of ranks


def test_divided_pairs_are_saved_like_those_of_one_process(folder: Path, results: dict[str, Any]) -> None:
    assert results["pairs"]["statuses"] == [{"0": 0, "1": 0}], results["pairs"]["text"]
    assert results["pairs-fewer"]["statuses"] == [{"0": 0}], results["pairs-fewer"]["text"]
    actual, expected = saved(folder / "pairs"), saved(folder / "pairs-alone")
    assert actual.keys() == expected.keys()
    for name, tensor in expected.items():
        if tensor.is_floating_point():
            assert actual[name].shape == tensor.shape
            assert float((actual[name] - tensor).norm()) <= 1e-11 * max(1.0, float(tensor.norm())), name


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("hanging", "rank 0 of 2 waited too long for another rank"),
        ("missing", "for 2 ranks, of which 1 connected"),
        ("drift", "rank 1 differs from rank 0 in vectors/generator (seed 0) at step 30"),
        ("full", "No space left on device. Saved files are complete"),
        ("mistake", "batch: got 9; allowed: a multiple of the number of ranks, 2"),
        ("typo", "--stepps"),
        ("compare", "command: got 'compare'; allowed: train or resume by several processes"),
        ("occupied", "out: got "),
        ("data", "on rank 1'; allowed: the same on every rank"),
    ],
)
def test_errors_are_one_line(results: dict[str, Any], name: str, text: str) -> None:
    (line,) = complaints(results[name])
    assert text in line
    (statuses,) = results[name]["statuses"]
    if name in ("full", "mistake", "typo", "compare", "occupied", "data"):
        assert statuses["0"] == 2
        assert statuses["1"] in (2, 143, -15)  # it may be ended when rank 0 has ended
    else:
        assert statuses["0"] == 1


def test_failed_runs_save_only_consistent_states(folder: Path) -> None:
    for name, step in (("full", 15), ("drift", 20), ("hanging", 20)):
        assert last_step(folder / name) == step
        assert not list((folder / name).rglob("*.tmp"))
    for name in ("mistake", "data"):
        assert not (folder / name).exists()


@pytest.mark.parametrize("name", ["sharded", "torn"])
def test_each_rank_saves_its_part_of_sharded_memory(folder: Path, results: dict[str, Any], name: str) -> None:
    first, second = results[name]["statuses"]
    assert first["0"] == -9
    assert second == {"0": 0, "1": 0}, results[name]["text"]
    assert_same_bits(saved(folder / name), saved(folder / "unsharded"))
    for divided, whole in zip(lines(folder / name), lines(folder / "unsharded"), strict=True):
        # Norms are made of those of the parts.
        assert divided.pop("gradient_norm", {}) == pytest.approx(whole.pop("gradient_norm", {}), rel=1e-6)
        assert divided == whole
    parts = sorted(path.name for path in (folder / name / "checkpoints").iterdir())
    assert parts == [f"step0000000{step}.{kind}" for step in (50, 60) for kind in ("rank1of2", "safetensors")]


def test_four_ranks_sum_in_the_same_order_in_shared_memory_and_by_gloo(folder: Path, results: dict[str, Any]) -> None:
    for name in ("near", "far"):
        assert not any(results[name]["statuses"][0].values()), results[name]["text"]
    assert_same_bits(saved(folder / "near"), saved(folder / "far"))


def test_sharded_memory_is_resumed_by_other_numbers_of_ranks(folder: Path, results: dict[str, Any]) -> None:
    expected = saved(folder / "whole-longer")
    for name in ("whole-longer", "four", "one"):
        assert not any(results[name]["statuses"][0].values()), results[name]["text"]
        assert last_step(folder / name) == 80
        for tensor, value in saved(folder / name).items():
            assert torch.allclose(value.double(), expected[tensor].double(), rtol=1e-3, atol=1e-4), (name, tensor)
    assert len(list((folder / "four" / "checkpoints").glob("*80.rank*of4"))) == 3
    assert not list((folder / "one" / "checkpoints").glob("*.rank*"))  # removed with the checkpoints they were parts of


def test_the_clock_and_measurements_of_rank_0_apply_to_all_ranks(folder: Path, results: dict[str, Any]) -> None:
    assert results["seconds"]["statuses"] == [{"0": 0, "1": 0}]
    seed_status = status(folder / "seconds")["seeds"]["0"]
    assert seed_status["status"] == "finished"
    assert seed_status["seconds"] >= 0.5
    assert results["early"]["statuses"] == [{"0": 0, "1": 0}]
    assert status(folder / "early")["seeds"]["0"]["stopped_at"] == 0


def test_all_run_eagerly_if_one_cannot_compile(folder: Path, results: dict[str, Any]) -> None:
    assert results["eager"]["statuses"] == [{"0": 0, "1": 0}]
    assert status(folder / "eager")["fallback_reason"] == "no compiler here"


def test_a_stepper_gets_each_rank_its_rows(folder: Path, results: dict[str, Any]) -> None:
    assert results["stepper"]["statuses"] == [{"0": 0, "1": 0}], results["stepper"]["text"]
    for rank in range(2):
        distances = json.loads((folder / f"stepper{rank}.json").read_text(encoding="utf-8"))
        assert max(distances.values()) <= 1e-11, distances


def test_torchrun_restarts_a_killed_rank(folder: Path, tmp_path: Path) -> None:
    directory = tmp_path / "run"
    torchrun = [str(Path(sys.executable).with_name("torchrun")), "--standalone", "--nproc-per-node", "2"]
    rank = ["--max-restarts", "1", "-m", "tests.ranks.forked", "--as-rank", "0"]
    words = [*torchrun, *rank, *TRAIN, "--out", str(directory)]
    completed = subprocess.run(words, cwd=ROOT, env=ENVIRONMENT, capture_output=True, text=True, timeout=300)
    assert completed.returncode == 0, completed.stderr
    assert_same_bits(saved(directory), saved(folder / "whole"))
    assert lines(directory) == lines(folder / "whole")
