"""Twenty steps are ten, a new process, and ten more: bit for bit, for every scheme and optimizer."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from detente.training.loop import train
from tests.training.small_runs import assert_same_bits, carried, last, lines, record, ring, runs, saved

ROOT = Path(__file__).parents[2]
RUNS = runs(20)


@pytest.fixture(scope="module")
def resumed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of run directories, each trained for ten steps here and for ten more by another process."""
    folder = tmp_path_factory.mktemp("resumed")
    for name, run in RUNS.items():
        record(replace(run, steps=10), folder / name)
    words = [sys.executable, "-W", "error", "-m", "tests.training.small_runs", str(folder), "20"]
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    return folder


@pytest.mark.parametrize("name", list(RUNS))
def test_twenty_steps_are_ten_a_new_process_and_ten(name: str, resumed: Path, tmp_path: Path) -> None:
    record(RUNS[name], tmp_path / name)
    ours, theirs = saved(resumed / name), saved(tmp_path / name)
    assert any(tensor.item() == 20 for key, tensor in ours.items() if key.endswith("state/t"))
    assert_same_bits(ours, theirs)
    assert lines(resumed / name) == lines(tmp_path / name)


def test_ticks_pulled_from_the_middle_end_the_same() -> None:
    """Also where the earlier loop had gone on: what a tick holds is never changed later."""
    run = replace(RUNS["turns-dropout-3"], record_every=1)
    ticks = list(train(replace(run, seeds=(1,))))
    for cut in (1, 7, 19):
        assert_same_bits(last(replace(run, seeds=(1,)), ticks[cut].progress), carried(ticks[-1].progress))


def test_what_is_measured_and_when_changes_no_state() -> None:
    run = RUNS["penalty-ring-3"]
    plain = last(replace(run, record_every=20, measure_every=20))
    for record_every, measure_every in ((1, 1), (3, 7), (7, 2), (20, 1)):
        looked_at = replace(run, record_every=record_every, measure_every=measure_every, samples=50)
        assert_same_bits(last(looked_at), plain)


def test_a_run_longer_than_planned_keeps_its_rhythm(tmp_path: Path) -> None:
    """Half a run taken beyond its plan has the lines and the end of a run planned so long."""
    whole = RUNS["scheme-simultaneous-ring-3"]
    record(replace(whole, steps=10), tmp_path / "grown")
    record(whole, tmp_path / "grown", resume=True)
    record(whole, tmp_path / "planned")
    assert_same_bits(saved(tmp_path / "grown"), saved(tmp_path / "planned"))
    samples = [sorted(p.name for p in (tmp_path / d / "samples").iterdir()) for d in ("grown", "planned")]
    assert samples[0] == samples[1] != []


def test_seeds_at_once_are_seeds_one_by_one() -> None:
    """The same random numbers; rounding may differ, since a mapped product is another kernel."""
    run = RUNS["scheme-alternating-ring-3"]
    together = last(run)
    for seed in run.seeds:
        alone = last(replace(run, seeds=(seed,)))
        for key, tensor in alone.items():
            torch.testing.assert_close(together[key], tensor, rtol=1e-4, atol=1e-5)
        assert torch.equal(together[f"{seed}/random"], alone[f"{seed}/random"])


def test_ring_here_has_statistics_and_randomness() -> None:
    """The small games are worth the trouble: buffers that move, and a module with random numbers of its own."""
    assert ring(dropout=True).stochastic and not ring().stochastic
    _, buffers = ring().initial(torch.Generator())
    assert {"1.running_mean", "1.running_var", "1.num_batches_tracked"} <= buffers["generator"].keys()
