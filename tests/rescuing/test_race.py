"""The race of cures: its rounds fit the budget, the better trials continue, and a killed one continues where it was."""

from __future__ import annotations

from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any, cast

import pytest

from detente.rescuing.race import plan_rounds, race


@pytest.mark.parametrize("budget", [1.0, 1.5, 2.4, 5.0])
@pytest.mark.parametrize("costs", [[1.0], [2.0, 1.0], [1.0, 2.0, 1.5], [1.0, 1.0, 2.0, 3.0], [6.0, 1.0, 1.0]])
def test_rounds_fit_the_budget_whichever_trials_win(costs: list[float], budget: float) -> None:
    rounds = plan_rounds(costs, budget)
    chosen = sorted((costs[index] for index in rounds.taking_part), reverse=True)
    spent = rounds.first * sum(chosen) + (rounds.second - rounds.first) * sum(chosen[:2])
    spent += (rounds.last - rounds.second) * chosen[0]
    assert spent <= budget + 1e-9
    assert 0 <= rounds.first <= rounds.second <= rounds.last <= 1
    if len(rounds.taking_part) > 1:
        assert rounds.last >= 0.7, "the winner has most of a run at least"


def test_cheap_cures_all_have_a_try() -> None:
    assert plan_rounds([1.0, 1.0, 1.0, 1.0], 2.4).taking_part == (0, 1, 2, 3)


def test_the_first_round_is_long_enough_to_tell_trials_apart() -> None:
    for costs in ([1.0, 1.0, 1.0, 1.0], [1.0, 1.5, 1.25, 1.5], [1.0, 2.0, 2.5]):
        rounds = plan_rounds(costs, 2.4)
        assert rounds.first >= 0.1
        assert rounds.last >= 0.7


def test_a_cure_that_costs_too_much_is_left_out() -> None:
    assert plan_rounds([9.5, 1.0, 2.0], 2.4).taking_part == (1, 2)


def test_a_cure_that_costs_twice_as_much_takes_part_in_a_shorter_race() -> None:
    rounds = plan_rounds([1.0, 1.25, 2.5, 1.5], 2.4)
    assert rounds.taking_part == (0, 1, 2, 3)
    assert 0.7 <= rounds.last < 1


class Runner:
    """A trial whose score and cost are known."""

    def __init__(self, name: str, score: float, diverges_at: int | None = None, cost: float = 1.0) -> None:
        self.name, self.score, self.steps, self.outcome, self.step_cost = name, score, 0, "", cost
        self.observed, self.whole = SimpleNamespace(diverged=""), 1000
        self._diverges_at = diverges_at

    def advance(self, steps: int) -> Iterator[int]:
        while self.steps < steps and not self.observed.diverged:
            self.steps += 10
            if self.steps == self._diverges_at:
                self.observed.diverged, self.score = f"diverged at step {self.steps}", float("-inf")
            yield self.steps


def test_the_better_trials_go_on() -> None:
    runners = [Runner("bad", 0.1), Runner("good", 0.9), Runner("fair", 0.5), Runner("broken", 1.0, diverges_at=20)]
    rounds = plan_rounds([1.0] * 4, 2.4)
    for _ in race(cast(Any, runners), rounds):
        pass
    steps = {runner.name: runner.steps for runner in runners}
    assert steps["good"] == 1000
    assert steps["bad"] < steps["fair"] < 1000
    assert steps["broken"] == 20
    assert runners[1].outcome == "full run of 1000 steps"
    assert runners[3].outcome == "diverged at step 20"
    assert runners[0].outcome == f"dropped after {steps['bad']} of 1000 steps"


@pytest.mark.parametrize("winner", ["cheap", "expensive"])
def test_a_cheap_winner_goes_on_for_longer(winner: str) -> None:
    costs = {"cheap": 1.0, "expensive": 2.5}
    runners = [Runner(name, float(name == winner), cost=cost) for name, cost in costs.items()]
    rounds = plan_rounds([*costs.values()], 2.4)
    assert 0.7 <= rounds.last < 1
    steps = 1000 if winner == "cheap" else round(1000 * rounds.last)
    for _ in race(cast(Any, runners), rounds):
        pass
    best = next(runner for runner in runners if runner.name == winner)
    assert best.steps == steps
    assert sum(runner.steps * runner.step_cost for runner in runners) <= 2.4 * 1000 + 10 * 3.5
    assert best.outcome == ("full run of 1000 steps" if steps == 1000 else f"run of {steps} steps")


def test_a_trial_of_cheap_steps_takes_more_of_them() -> None:
    cheap, usual = Runner("cheap", 0.9, cost=0.05), Runner("usual", 0.1)
    cheap.whole = 5000  # a quarter of the compute of the other's 1000 steps
    rounds = plan_rounds([0.25, 1.0], 2.4)
    for _ in race(cast(Any, [cheap, usual]), rounds):
        pass
    assert cheap.steps == 5000 and cheap.outcome == "full run of 5000 steps"
    assert cheap.steps * cheap.step_cost + usual.steps <= 2400


def test_a_trial_that_is_kept_takes_part_although_it_is_the_most_expensive_one() -> None:
    costs = [1.0, 1.5, 3.25, 2.5]
    without, kept = plan_rounds(costs, 2.4), plan_rounds(costs, 2.4, preferred=2)
    assert 2 not in without.taking_part and 2 in kept.taking_part and len(kept.taking_part) > 1
    assert plan_rounds([9.5, 1.0, 2.0], 2.4, preferred=0) == plan_rounds([9.5, 1.0, 2.0], 2.4)  # it cannot have a run
