"""The sentences at the top of the page name a winner only if the data do."""

from __future__ import annotations

import re
from pathlib import Path

from detente.report.page import render_template
from detente.report.ranking import rankings
from detente.report.recorded_run import RecordedMetric, RecordedRun, RecordedTick, SeedStatus
from detente.report.summary import make_summary


def make_run(
    name: str,
    finals: list[float | None],
    *,
    better: str = "higher",
    diverged: int | None = None,
    cost: int = 10,
    status: str = "finished",
) -> RecordedRun:
    ticks = {seed: [RecordedTick(100, cost, 1.0, {("metrics", "modes"): value})] for seed, value in enumerate(finals)}
    seeds = {
        seed: SeedStatus("diverged", 100, 1.0, 40) if seed == diverged else SeedStatus(status, 100, 1.0)
        for seed in ticks
    }
    return RecordedRun(
        name, Path(name), seeds=seeds, ticks=ticks, metrics={"modes": RecordedMetric("Modes covered", "modes", better)}
    )


def verdict_text(*runs: RecordedRun) -> str:
    html = render_template("summary.html", runs=runs, summary=make_summary(runs, rankings(runs)))
    return re.sub(r"\s+", " ", re.sub("</?strong>", "", html)).strip()


def test_of_many_runs_five_are_named_and_the_others_counted() -> None:
    text = verdict_text(*(make_run(f"run-{index}", [5.0, 5.5, 4.5]) for index in range(50)))
    assert "run-0, run-1, run-2, run-3, run-4 and 45 others share the highest mean" in text
    assert "run-6" not in text and text.endswith("No seed diverged.")
    text = verdict_text(*(make_run(f"run-{index}", [5.0, 5.5, 4.5], diverged=1) for index in range(7)))
    assert "Seeds of 7 runs <em>diverged</em>, as the table shows." in text and "No seed" not in text


def test_disjoint_intervals_name_a_winner() -> None:
    text = verdict_text(make_run("good", [8.0, 7.9, 8.1]), make_run("poor", [2.0, 2.1, 1.9]))
    assert text.startswith("2 runs are compared, with 3 seeds each.")
    assert "Modes covered: good is best with 8.00 ± 0.25 modes (3 seeds); its 95 % interval does not overlap" in text
    assert text.endswith("No seed diverged.")


def test_lower_is_better_reverses_the_order() -> None:
    good, poor = make_run("good", [8.0, 7.9], better="lower"), make_run("poor", [0.1, 0.2], better="lower")
    assert "poor is best" in verdict_text(good, poor)


def test_overlap_names_no_winner() -> None:
    text = verdict_text(make_run("a", [7.0, 8.0, 9.0]), make_run("b", [7.0, 8.1, 9.2]), make_run("c", [0.0, 0.1, 0.2]))
    assert "b has the highest mean" in text and "overlaps that of a, so no winner is named." in text


def test_equal_means_are_shared() -> None:
    text = verdict_text(make_run("a", [8.0, 8.0]), make_run("b", [8.0, 8.0]), make_run("c", [8.0, 8.0]))
    assert "a, b and c share the highest mean, 8 ± 0 modes, but the first’s 95 % interval overlaps" in text


def test_single_seed_names_no_winner() -> None:
    text = verdict_text(make_run("a", [8.0]), make_run("b", [1.0]))
    assert "a single seed gives no interval, so no winner is named." in text


def test_divergence_is_mentioned_and_prevents_winning() -> None:
    text = verdict_text(make_run("a", [8.0, 8.1, 0.0], diverged=2), make_run("b", [1.0, 1.1, 1.2]))
    assert "1 of its 3 seeds diverged, so no winner is named." in text
    assert "a <em>diverged</em> in 1 of 3 seeds (seed 2 at step 40)." in text and "No seed diverged" not in text


def test_value_that_is_not_finite_prevents_winning() -> None:
    text = verdict_text(make_run("a", [8.0, 8.1, None]), make_run("b", [1.0, 1.1, 1.2]))
    assert "1 of its 3 seeds has no finite final value" in text


def test_unfinished_runs_and_unequal_budgets_are_mentioned() -> None:
    interrupted = make_run("a", [8.0, 8.1], status="interrupted", cost=10)
    text = verdict_text(interrupted, make_run("b", [1.0, 1.1], status="running", cost=20))
    assert "a is interrupted (seed 0 at step 100 and seed 1 at step 100)" in text and "b is still running" in text
    assert "different numbers of gradient evaluations, from 10 to 20" in text


def test_metric_that_only_one_run_measured_is_not_compared() -> None:
    other = RecordedRun("other", Path("other"), seeds={0: SeedStatus("finished", 100, 1.0)}, ticks={0: []})
    assert "Only a has values for Modes covered, so" in verdict_text(make_run("a", [8.0, 8.1]), other)
    diverged = make_run("b", [1.0], diverged=0)
    assert "no other run has a final value" in verdict_text(make_run("a", [8.0, 8.1]), diverged)


def test_one_run_states_its_values() -> None:
    text = verdict_text(make_run("only", [8.0, 8.0]))
    assert text.startswith("One run, only, with 2 seeds. Modes covered: 8 ± 0 modes (2 seeds).")


def test_metric_without_a_direction_has_no_best() -> None:
    runs = [make_run("a", [8.0, 8.0], better="none"), make_run("b", [1.0, 1.0], better="none")]
    assert "no run is called best" in verdict_text(*runs) and rankings(runs)[0].best == ()


def test_names_titles_and_units_are_escaped() -> None:
    run = make_run("<i>a</i>", [8.0, 8.0])
    run.metrics["modes"] = RecordedMetric("<i>Modes</i>", "<i>modes</i>", "higher")  # type: ignore[index]
    assert "<i>" not in verdict_text(run) and verdict_text(run).count("&lt;i&gt;") == 3
