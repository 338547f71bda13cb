"""The ranks of `benchmarks/which_method.py`."""

import numpy as np
import pytest

from benchmarks import which_method
from detente.report.recorded_run import RecordedRun, RecordedTick, SeedStatus


def test_mean_ranks_agree_with_hand_count_and_ties_share() -> None:
    values = np.array([[0.1, 0.2, 0.1], [0.3, 0.2, 0.2], [np.inf, 0.5, np.inf]])  # ranks 1 1.5 1; 2 1.5 2; 3 3 3
    (first, *interval), second, third = which_method.mean_ranks(values, np.random.default_rng(0))
    assert first == pytest.approx(3.5 / 3) and second[0] == pytest.approx(5.5 / 3)
    assert interval[0] <= first <= interval[1] and interval == pytest.approx([1.0, 1.5])
    assert third == (3.0, 3.0, 3.0)


def test_a_value_is_the_last_before_a_step_and_missing_after_divergence() -> None:
    ticks = [RecordedTick(step, None, None, {("metrics", "score"): float(step)}) for step in (0, 10, 20)]
    seeds = {0: SeedStatus("finished", 20, 1.0), 1: SeedStatus("diverged", 15, 1.0, diverged_at=15)}
    run = RecordedRun("x", which_method.PAGE, seeds=seeds, ticks={0: ticks, 1: ticks[:2]})
    assert which_method.value_before(run, 0, "score", 19) == 10
    assert which_method.value_before(run, 0, "score", float("inf")) == 20
    assert which_method.value_before(run, 1, "score", 12) == 10
    assert np.isnan(which_method.value_before(run, 1, "score", 20)) and np.isnan(
        which_method.value_before(run, 2, "score", 9)
    )


def test_every_method_either_plays_a_game_or_is_refused_with_a_reason() -> None:
    playing, reasons = which_method.players(which_method.CONTESTS["ring"])
    assert {"alternating", "consensus", "svrg", "sgan"} <= set(playing)
    assert "zero-sum" in reasons["competitive"]
