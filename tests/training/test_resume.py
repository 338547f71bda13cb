"""Ten steps, a new process and ten more equal twenty bit for bit, for every scheme and optimizer."""

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
    completed = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, timeout=300)
    assert completed.returncode == 0, completed.stderr
    return folder


@pytest.mark.parametrize("name", list(RUNS))
def test_ten_steps_resumed_in_a_new_process_equal_twenty(name: str, resumed: Path, tmp_path: Path) -> None:
    record(RUNS[name], tmp_path / name)
    actual, expected = saved(resumed / name), saved(tmp_path / name)
    assert any(tensor.item() == 20 for key, tensor in actual.items() if key.endswith("state/t"))
    assert_same_bits(actual, expected)
    assert lines(resumed / name) == lines(tmp_path / name)


def test_training_continued_from_an_earlier_tick_ends_the_same() -> None:
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


def test_an_extended_run_keeps_its_intervals(tmp_path: Path) -> None:
    """A run that is extended has the lines and the final state of a run with that number of steps."""
    whole = RUNS["scheme-simultaneous-ring-3"]
    record(replace(whole, steps=10), tmp_path / "grown")
    record(whole, tmp_path / "grown", resume=True)
    record(whole, tmp_path / "planned")
    assert_same_bits(saved(tmp_path / "grown"), saved(tmp_path / "planned"))
    samples = [sorted(p.name for p in (tmp_path / d / "samples").iterdir()) for d in ("grown", "planned")]
    assert samples[0] == samples[1] != []


def test_mapped_seeds_equal_separate_seeds() -> None:
    """The same random numbers; rounding may differ, since a mapped product is another kernel."""
    run = RUNS["scheme-alternating-ring-3"]
    together = last(run)
    for seed in run.seeds:
        alone = last(replace(run, seeds=(seed,)))
        for key, tensor in alone.items():
            torch.testing.assert_close(together[key], tensor, rtol=1e-4, atol=1e-5)
        assert torch.equal(together[f"{seed}/random"], alone[f"{seed}/random"])


def test_the_small_ring_has_buffers_and_random_layers() -> None:
    """The small games have buffers that change, and a module that draws random numbers."""
    assert ring(dropout=True).stochastic and not ring().stochastic
    _, buffers = ring().initial(torch.Generator())
    assert {"1.running_mean", "1.running_var", "1.num_batches_tracked"} <= buffers["generator"].keys()
