"""Comparison with a baseline: differences, tests, corrections, and their description in words."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import yaml
from scipy import stats

from detente.report.comparison import compare_to_baseline, read_comparison
from detente.report.comparison_text import (
    comparison_sentences,
    describe_pair,
    describe_tests,
    format_trials,
    tuning_lines,
)
from detente.report.formatting import format_difference
from detente.report.page import write_report
from detente.report.paired_differences import PairedDifference, paired_differences
from detente.report.ranking import rankings
from detente.report.recorded_run import RecordedMetric, RecordedRun, RecordedTick, SeedStatus
from detente.report.run_directory import read_runs
from detente.report.statistics import Interval, holm, signed_rank_test
from tests.report.page_reader import Reader

MODES, TIME = ("metrics", "modes"), ("metrics", "time")
MakeRun = Callable[..., Path]


def run_of(
    name: str, values: Mapping[int, float | None], diverged: dict[int, int] | None = None, better: str = "higher"
) -> RecordedRun:
    ticks = {seed: [RecordedTick(5, 10, 1.0, {MODES: value})] for seed, value in values.items()}
    seeds = {seed: SeedStatus("finished", 5, 1.0) for seed in values}
    seeds |= {seed: SeedStatus("diverged", 5, 1.0, step) for seed, step in (diverged or {}).items()}
    metrics = {"modes": RecordedMetric("Modes", "modes", better)}
    return RecordedRun(name, Path(f"/runs/{name}"), seeds=seeds, ticks=ticks, metrics=metrics)


def only(runs: list[RecordedRun], baseline: int = 0) -> PairedDifference:
    (row,) = paired_differences(runs, baseline)
    (pair,) = row.values()
    return pair


def exact_p_value(differences: list[float]) -> float:
    """Return the share of the 2ⁿ signs whose rank sum is at least as extreme, doubled."""
    nonzero = np.array([d for d in differences if d], dtype=float)
    ranks = stats.rankdata(np.abs(nonzero))
    signs = np.array(list(itertools.product((0, 1), repeat=len(nonzero))))
    sums, observed = signs @ ranks, ranks[nonzero > 0].sum()
    return min(1.0, 2 * min((sums <= observed).mean(), (sums >= observed).mean()))


@pytest.mark.parametrize("n", [1, 2, 5, 6, 10, 15])
@pytest.mark.parametrize("shift", [0.0, 0.4, -1.0])
def test_signed_rank_test_without_ties_is_exact(n: int, shift: float) -> None:
    differences = list(np.random.default_rng([n, round(10 * shift) + 10]).normal(shift, 1, n))
    assert signed_rank_test(differences) == (pytest.approx(exact_p_value(differences)), n)


@pytest.mark.parametrize(
    ("differences", "nonzero"),
    [
        ([1, 1, 2, -1, 3], 5),
        ([2, 2, 2, 2, -2, 5, 0, 0], 6),
        ([-1, -1, -1, -1, -1, -1], 6),
        ([1, -1], 2),
        ([3, 0], 1),
        ([1, 2, 2, 3, 3, 3, -1, -2, 4, 4, 5, 5, 6], 13),
    ],
)
def test_signed_rank_test_with_ties_and_zeros_is_exact(differences: list[float], nonzero: int) -> None:
    assert signed_rank_test(differences) == (pytest.approx(exact_p_value(differences)), nonzero)


def test_many_ties_use_the_normal_approximation() -> None:
    differences = np.random.default_rng(0).integers(1, 4, 20) * np.where(np.arange(20) % 4, 1.0, -1.0)
    p_value = stats.wilcoxon(differences, method="asymptotic")[1]
    assert signed_rank_test(list(differences)) == (pytest.approx(p_value), 20)


def test_only_zeros_give_p_of_1() -> None:
    assert signed_rank_test([0.0, 0.0]) == (1.0, 0) and signed_rank_test([]) == (1.0, 0)


def test_holm_correction() -> None:
    """Holm: the smallest p times 4, the next times 3, …, none below the one before it."""
    assert holm([0.03, 0.005, 0.04, 0.01]) == pytest.approx([0.06, 0.02, 0.06, 0.03])
    assert holm([0.9, 0.8]) == [1.0, 1.0] and holm([]) == []


def test_interval_of_the_differences_agrees_with_scipy() -> None:
    noise = np.random.default_rng(1)
    base, method = noise.normal(3, 1, 10), noise.normal(4, 1, 10)
    pair = only([run_of("base", dict(enumerate(base))), run_of("ours", dict(enumerate(method)))])
    assert pair.difference is not None
    low, high = stats.ttest_rel(method, base).confidence_interval(0.95)
    assert (pair.difference.low, pair.difference.high) == (pytest.approx(low), pytest.approx(high))
    assert pair.p == pytest.approx(stats.wilcoxon(method, base)[1])


def test_seeds_are_paired_by_number_not_by_position() -> None:
    base = run_of("base", {0: 1.0, 1: 2.0, 2: 3.0})
    pair = only([base, run_of("ours", {2: 3.5, 7: 99.0, 0: 1.5})])
    assert pair.difference == Interval(0.5, 0.0, 2)


@pytest.mark.parametrize(("better", "summary"), [("higher", "better"), ("lower", "worse")])
def test_ten_consistent_seeds_give_a_conclusion_in_the_direction_of_the_metric(better: str, summary: str) -> None:
    base = run_of("base", {s: float(s) for s in range(10)}, better=better)
    pair = only([base, run_of("ours", {s: s + 1 + s / 100 for s in range(10)}, better=better)])
    assert pair.conclusion == summary and pair.corrected == pair.p == pytest.approx(2 / 2**10)
    assert describe_pair(pair)[0].startswith(f"{summary}: +1.0")


def test_five_seeds_are_reported_as_too_few() -> None:
    base = run_of("base", {s: 0.0 for s in range(5)})
    pair = only([base, run_of("ours", {s: 5.0 + s / 100 for s in range(5)})])
    assert pair.conclusion == "" and pair.p == 0.0625
    assert "only 5 pairs differ; p < 0.05 needs at least 6" in describe_pair(pair)


def test_a_run_that_lost_seeds_is_not_called_better_but_may_be_called_worse() -> None:
    base = run_of("base", {s: 0.0 for s in range(10)})
    values = {s: 1 + s / 100 for s in range(9)}
    winner = only([base, run_of("ours", values, {9: 3})])
    assert winner.conclusion == "" and winner.corrected < 0.05
    assert describe_pair(winner)[-2:] == ["a run that lost seeds is not called better", "1 seed lost"]
    assert only([base, run_of("ours", {s: -value for s, value in values.items()}, {9: 3})]).conclusion == "worse"
    assert (
        only([run_of("base", dict.fromkeys(range(9), 0.0), {9: 3}), run_of("ours", {**values, 9: 1.0})]).conclusion
        == "better"
    )


def test_reason_names_missing_common_seeds_and_equal_values() -> None:
    base = run_of("base", {0: 1.0, 1: None})
    apart = only([base, run_of("ours", {0: None, 1: 1.0})])
    assert apart.difference is None and describe_pair(apart)[0] == "no seed finished in both runs"
    equal = only([base, run_of("ours", {0: 1.0})])
    assert equal.reason == "equal for every seed"


def test_correction_counts_every_method_and_metric() -> None:
    noise = np.random.default_rng(3)
    runs = [run_of(name, dict(enumerate(noise.normal(shift, 1, 10)))) for name, shift in (("a", 0), ("b", 1), ("c", 2))]
    (row,) = paired_differences(runs, 0)
    assert [row[1].corrected, row[2].corrected] == pytest.approx(holm([row[1].p, row[2].p]))
    (compared,) = paired_differences(runs, 0, among=[0, 2])
    assert list(compared) == [2] and compared[2].corrected == compared[2].p


def test_differences_have_the_decimals_of_their_interval() -> None:
    expected = {
        Interval(1.2345, 0.8, 10): "+1.23 [0.43, 2.03]",
        Interval(-1200.0, 55.0, 3): "−1,200 [−1,255, −1,145]",
        Interval(2.0, None, 1): "+2",
        Interval(0.0, 0.0, 3): "0",
        Interval(-3e-7, 1e-7, 3): "−3e−07 [−4e−07, −2e−07]",
    }
    for difference, text in expected.items():
        assert format_difference(difference) == text


@pytest.fixture
def folder(make_run: MakeRun, tmp_path: Path) -> Path:
    """A comparison of three runs over ten seeds, with <markup> for a name."""
    path, seeds = tmp_path / "comparison", tuple(range(10))
    make_run(path / "plain", quality=0.4, seeds=seeds, snapshots=0)
    make_run(path / "good<b>", quality=0.95, seeds=seeds, snapshots=0)
    make_run(path / "same", quality=0.41, seeds=seeds, snapshots=0, diverged={3: 1000})
    (path / "comparison.yaml").write_text(yaml.safe_dump({"baseline": "plain", "budget": "60 seconds"}))
    trials = [{"rate": 0.001, "mean": 7.25, "diverged": []}, {"rate": 0.01, "mean": None, "diverged": [1000]}]
    sweep = {"best": 0.001, "trials": trials, "remark": "the <best> is at the edge"}
    (path / "tuning.json").write_text(json.dumps({"methods": {"good<b>": sweep, "gone": sweep, "odd": 3}}))
    return path


def test_page_compares_with_the_baseline_of_the_folder(folder: Path, tmp_path: Path) -> None:
    page = write_report([folder], tmp_path / "page.html").read_text(encoding="utf-8")
    text = Reader(page).text
    assert "Against plain, seed by seed" in text and "good<b>" in text and "<b>" not in page.split("<script")[0]
    assert "good<b>: better than plain: Modes covered (+4.4" in text
    assert "same: no significant difference from plain: Modes covered, Sliced Wasserstein distance." in text
    assert "with Holm’s correction for 4 tests" in text
    assert "Learning rates swept beforehand" in text and "0.001: 7.25; 0.01: 1 diverged" in text


def test_no_comparison_without_folder_or_baseline(folder: Path) -> None:
    assert (
        compare_to_baseline(read_runs([folder / "plain", folder / "same"]), [folder / "plain", folder / "same"]) is None
    )
    (folder / "comparison.yaml").write_text("baseline: gone")
    assert compare_to_baseline(read_runs([folder]), [folder]) is None
    for broken in ("baseline: [unclosed", "just words", "baseline: 3", ""):
        (folder / "comparison.yaml").write_text(broken)
        assert read_comparison([folder]) is None


def test_runs_outside_the_folder_are_not_compared(folder: Path, make_run: MakeRun, tmp_path: Path) -> None:
    other = make_run(tmp_path / "other", seeds=tuple(range(10)), snapshots=0)
    runs = read_runs([folder, other])
    comparison = compare_to_baseline(runs, [folder, other])
    assert comparison is not None and [run.name for run in runs] == ["good<b>", "plain", "same", "other"]
    assert {index for row in comparison.pairs for index in row} == {0, 2} and comparison.tests == 4


@pytest.mark.parametrize("tuning", ["{", "[]", '{"methods": 3}', '{"methods": {"plain": {"trials": 3, "best": "x"}}}',
                                    '{"methods": {"plain": {"trials": [3, {"rate": 1, "diverged": 3}]}}}'])  # fmt: skip
def test_a_broken_sweep_does_not_break_the_page(folder: Path, tmp_path: Path, tuning: str) -> None:
    (folder / "tuning.json").write_text(tuning)
    assert "Against plain" in write_report([folder], tmp_path / "page.html").read_text(encoding="utf-8")


def test_lines_for_the_terminal(folder: Path) -> None:
    runs = read_runs([folder])
    comparison = compare_to_baseline(runs, [folder])
    assert comparison is not None
    assert len(comparison_sentences(runs, rankings(runs), comparison)) == 2
    assert describe_tests(comparison).startswith("Each seed had 60 seconds at most. Differences over 9 to 10")
    without = replace(comparison, pairs=tuple({} for _ in comparison.pairs))
    assert "No metric that ranks runs was measured" in describe_tests(without)
    assert list(tuning_lines(comparison))[0] == "good<b>: learning rate 0.001; the <best> is at the edge."
    assert format_trials({"trials": [{"rate": 1.0, "mean": None, "diverged": []}]}) == ["1: no value"]
