"""The verdict claims a winner only where the data separate it."""

from __future__ import annotations

from pathlib import Path

from detente.report.run import Metric, Run, SeedStatus, Tick
from detente.report.standing import standings
from detente.report.verdict import verdict


def made(
    name: str,
    finals: list[float | None],
    *,
    better: str = "higher",
    lost: int | None = None,
    cost: int = 10,
    status: str = "finished",
) -> Run:
    ticks = {seed: [Tick(100, cost, 1.0, {("metrics", "modes"): value})] for seed, value in enumerate(finals)}
    seeds = {s: SeedStatus("diverged" if s == lost else status, 100, 1.0, 40 if s == lost else None) for s in ticks}
    return Run(name, Path(name), seeds=seeds, ticks=ticks, metrics={"modes": Metric("Modes covered", "modes", better)})


def say(*runs: Run) -> str:
    return verdict(runs, standings(runs)).replace("<strong>", "").replace("</strong>", "")


def test_disjoint_intervals_name_a_winner() -> None:
    said = say(made("good", [8.0, 7.9, 8.1]), made("poor", [2.0, 2.1, 1.9]))
    assert "Modes covered: good is best with 8.00 ± 0.25 modes (3 seeds)" in said and "No seed diverged." in said


def test_lower_is_better_turns_the_order() -> None:
    assert "poor is best" in say(made("good", [8.0, 7.9], better="lower"), made("poor", [0.1, 0.2], better="lower"))


def test_overlap_claims_no_winner() -> None:
    said = say(made("a", [7.0, 8.0, 9.0]), made("b", [7.0, 8.1, 9.2]), made("c", [0.0, 0.1, 0.2]))
    assert "b has the highest mean" in said and "overlaps that of a, so no winner is claimed" in said


def test_equal_means_are_shared() -> None:
    assert "a and b share the highest mean, 8 ± 0 modes" in say(made("a", [8.0, 8.0]), made("b", [8.0, 8.0]))


def test_single_seed_claims_no_winner() -> None:
    said = say(made("a", [8.0]), made("b", [1.0]))
    assert "a single seed gives no interval, so no winner is claimed" in said


def test_divergence_is_told_and_forbids_winning() -> None:
    said = say(made("a", [8.0, 8.1, 0.0], lost=2), made("b", [1.0, 1.1, 1.2]))
    assert "1 of its 3 seeds diverged, so no winner is claimed" in said
    assert "a <em>diverged</em> in 1 of 3 seeds (seed 2 at step 40)." in said and "No seed diverged" not in said


def test_value_that_is_not_finite_forbids_winning() -> None:
    said = say(made("a", [8.0, 8.1, None]), made("b", [1.0, 1.1, 1.2]))
    assert "1 of its 3 seeds have no finite final value" in said


def test_unfinished_runs_and_unequal_budgets_are_told() -> None:
    said = say(made("a", [8.0, 8.1], status="interrupted", cost=10), made("b", [1.0, 1.1], status="running", cost=20))
    assert "a is interrupted (seed 0 at step 100 and seed 1 at step 100)" in said and "b is still running" in said
    assert "unequal numbers of gradient evaluations, from 10 to 20" in said


def test_what_one_run_alone_was_measured_by_is_not_compared() -> None:
    other = Run("other", Path("other"), seeds={0: SeedStatus("finished", 100, 1.0)}, ticks={0: []})
    assert "Only a was measured by Modes covered" in say(made("a", [8.0, 8.1]), other)
    assert "no other run has a final value" in say(made("a", [8.0, 8.1]), made("lost", [1.0], lost=0))


def test_one_run_states_its_values() -> None:
    said = say(made("only", [8.0, 8.0]))
    assert said.startswith("One run, only, with 2 seeds. Modes covered: 8 ± 0 modes (2 seeds).")


def test_metric_without_a_direction_has_no_best() -> None:
    runs = [made("a", [8.0, 8.0], better="none"), made("b", [1.0, 1.0], better="none")]
    assert "no run is called best" in say(*runs) and standings(runs)[0].best == ()
