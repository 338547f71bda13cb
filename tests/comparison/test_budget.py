"""Budgets: parsing, conversion to steps, and runs that end after a number of seconds."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from itertools import islice, pairwise
from pathlib import Path
from typing import Any

import pytest

from detente import methods
from detente.comparison.budget import UNLIMITED_STEPS, Budget, shorten
from detente.errors import InvalidValue
from detente.fields.consensus import Consensus
from detente.games.quadratic import Bilinear
from detente.methods.method import Method
from detente.optimizers.sgd import SGD
from detente.schemes.simultaneous import Simultaneous
from detente.training import loop
from detente.training.loop import train
from detente.training.run import Run
from tests.training.small_runs import assert_same_bits, carried, last, record, ring
from tests.training.test_loop import PLAIN, Fragile


@pytest.mark.parametrize(
    ("text", "amount", "unit"),
    [
        ("60s", 60, "seconds"),
        (" 1.5 S ", 1.5, "seconds"),
        ("10min", 600, "seconds"),
        ("0.5h", 1800, "seconds"),
        ("2e5grads", 200_000, "grads"),
        ("2E+5 grads", 200_000, "grads"),
        ("20000steps", 20_000, "steps"),
        ("1step", 1, "steps"),
    ],
)
def test_budgets_are_parsed(text: str, amount: float, unit: str) -> None:
    assert Budget.parse(text) == Budget(amount, unit)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "text",
    ["", "60", "s", "60 sec onds", "sixty s", "1e5 gradients!", "2e5,grads", "1e999s", "nans", "-5s", "0s", "0.5grads",
     "0steps", "1.2.3s", "+-1s", "--3steps", "\n", "1e5"],
)  # fmt: skip
def test_invalid_budgets_are_refused(text: str) -> None:
    with pytest.raises(InvalidValue) as refused:
        Budget.parse(text)
    assert refused.value.field == "budget"


@pytest.mark.parametrize(
    ("amount", "unit"), [(math.nan, "grads"), (math.inf, "seconds"), (True, "steps"), (5, "hours")]
)
def test_constructor_refuses_invalid_amounts(amount: Any, unit: Any) -> None:
    with pytest.raises(InvalidValue):
        Budget(amount, unit)


def test_budgets_are_formatted_with_units() -> None:
    assert [str(Budget.parse(text)) for text in ("2e5grads", "1.5s", "90steps")] == [
        "200,000 gradient evaluations", "1.5 seconds", "90 steps",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("text", "cost", "steps"),
    [
        ("1000grads", 2, 500),
        ("1000grads", 4, 250),
        ("1000grads", 3, 333),
        ("2200grads", 2.2, 1000),
        ("1000grads", 2.2, 454),
        ("3grads", 4, 1),
        ("77steps", 4, 77),
        ("77.9steps", 4, 77),
    ],
)
def test_gradient_budgets_are_rounded_to_whole_steps(text: str, cost: float, steps: int) -> None:
    assert Budget.parse(text).steps(cost) == steps


def test_equal_gradients_for_methods_of_unequal_cost() -> None:
    game, budget = ring(), Budget.parse("600grads")
    spent = {}
    for name, method in {
        "simultaneous": methods.simultaneous(),
        "consensus": Method(Consensus(0.1), Simultaneous(), SGD(0.01)),
        "extragradient": methods.extragradient(),
    }.items():
        run = budget.apply_to(Run(game, method, seeds=(3,)))
        spent[name] = (run.steps, run.steps * method.gradient_evaluations(game), run.seconds)
    assert spent == {
        "simultaneous": (300, 600, None), "consensus": (150, 600, None), "extragradient": (150, 600, None),
    }  # fmt: skip


def test_a_share_of_a_run_applies_to_steps_and_seconds() -> None:
    run = Run(Bilinear(), PLAIN, steps=9)
    assert (shorten(run, 0.2).steps, shorten(run, 0.2).seconds) == (1, None)
    assert shorten(replace(run, seconds=5.0), 0.2).seconds == 1.0


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """A clock that shows 1/64 s more at each reading, so that each advance takes as long, on any machine."""
    shown = [0.0]

    def reading() -> float:
        shown[0] += 1 / 64
        return shown[0]

    monkeypatch.setattr(loop.time, "perf_counter", reading)
    return shown


def test_seconds_end_a_run_at_the_step_that_uses_them_up(clock: list[float]) -> None:
    """Two seeds share each round's 1/64 s: 1 s for each is 128 rounds."""
    run = replace(Budget.parse("1s").apply_to(Run(Bilinear(), PLAIN, seeds=(0, 1), compile="off")))
    assert run.steps == UNLIMITED_STEPS and run.seconds == 1
    ticks = list(train(run))
    assert ticks[-1].step == 128 and ticks[-1].moment == (128, 1.0)
    assert ticks[-1].metrics, "the end is measured"
    assert not run.is_over(ticks[-2].moment)
    del clock


def test_time_decides_when_to_record_and_measure(clock: list[float]) -> None:
    """500 steps of 1/64 s: a record every two and a half steps, a measurement every twenty-five."""
    run = Budget.parse("7.8125s").apply_to(Run(Bilinear(), PLAIN, compile="off"))
    ticks = list(train(run))
    assert [tick.step for tick in ticks] == [0] + [math.ceil(2.5 * k) for k in range(1, 201)]
    assert [tick.step for tick in ticks if tick.metrics] == [0] + [25 * k for k in range(1, 21)]
    chosen = [tick.step for tick in train(replace(run, record_every=100, measure_every=200))]
    assert chosen == [0, 100, 200, 300, 400, 500], "intervals in steps hold where they are named"
    del clock


def test_a_run_ends_at_its_first_limit(clock: list[float]) -> None:
    run = Run(Bilinear(), PLAIN, steps=50, seconds=0.5, compile="off")
    assert list(train(run))[-1].step == 32
    assert list(train(replace(run, seconds=5.0)))[-1].step == 50
    del clock


def test_diverged_seeds_use_no_time(clock: list[float]) -> None:
    run = Run(Fragile(0.6), PLAIN, steps=UNLIMITED_STEPS, seconds=1.0, seeds=(0, 1, 2), compile="off", samples=1)
    *_, end = train(run)
    assert [progress.diverged_at is None for progress in end.progress] == [True, False, False]
    assert 1.0 <= end.progress[0].seconds < 1.0 + 1 / 64
    assert all(progress.seconds < 0.5 for progress in end.progress[1:])
    *_, lost = train(replace(run, game=Fragile(-1.0)))
    assert lost.moment[1] < 1.0, "all lost is an end too"
    del clock


def test_a_run_limited_by_seconds_resumes_and_finishes(tmp_path: Path, clock: list[float]) -> None:
    run = Budget.parse("0.25s").apply_to(Run(ring(), methods.alternating(), seeds=(0, 4), samples=8, compile="off"))
    whole = list(train(run))
    cut = whole[len(whole) // 2]
    *_, again = train(run, cut.progress)
    assert again.moment == whole[-1].moment == (32, 0.25)
    assert_same_bits(carried(again.progress), carried(whole[-1].progress))
    record(run, tmp_path / "run")
    statuses = json.loads((tmp_path / "run" / "status.json").read_text("utf-8"))["seeds"]
    assert {(status["status"], status["step"], status["seconds"]) for status in statuses.values()} == {
        ("finished", 32, 0.25)
    }
    before = (tmp_path / "run" / "metrics.jsonl").read_bytes()
    record(run, tmp_path / "run", resume=True)
    assert (tmp_path / "run" / "metrics.jsonl").read_bytes() == before
    record(replace(run, seconds=0.3125), tmp_path / "run", resume=True)
    assert json.loads((tmp_path / "run" / "status.json").read_text("utf-8"))["seeds"]["0"]["step"] == 40
    assert len(list((tmp_path / "run" / "checkpoints").iterdir())) == 2
    del clock


def test_a_time_limit_changes_only_the_number_of_steps(clock: list[float]) -> None:
    """The states of a run stopped by seconds are those of the same number of steps."""
    run = Run(ring(dropout=True), methods.alternating(), steps=20, seeds=(0, 1), samples=8, compile="off")
    timed = replace(run, steps=UNLIMITED_STEPS, seconds=20 / 64 / 2)
    assert_same_bits(last(timed), last(run))
    del clock


def test_compilation_time_does_not_count_towards_the_budget(
    monkeypatch: pytest.MonkeyPatch, clock: list[float]
) -> None:
    """The graph is made by a chunk that is thrown away, from random numbers that are drawn again."""
    called: list[bool] = []
    carry_out = loop.Steps.__call__

    def counted(self: Any, states: Any, draws: Any, donate: bool = False) -> Any:
        if self.compiled:
            called.append(donate)
        self.compiled = False  # takes steps eagerly, so that nothing is compiled here
        return carry_out(self, states, draws, False)

    run = Run(ring(), PLAIN, steps=20, seeds=(3,), samples=8, compile="off")
    plain = last(run)
    monkeypatch.setattr(loop.Steps, "__call__", counted)
    timed = last(replace(run, compile="on", steps=UNLIMITED_STEPS, seconds=20 / 64))
    assert called == [False]
    assert_same_bits(timed, plain)
    del clock


def test_short_budgets_run_eagerly(monkeypatch: pytest.MonkeyPatch) -> None:
    from detente.training import execution

    monkeypatch.setattr(execution, "_has_compiler", lambda: True)
    run = Run(Bilinear(2), PLAIN, steps=UNLIMITED_STEPS, seconds=5.0, seeds=(0, 1))
    chosen = {
        seconds: execution.choose_execution(replace(run, seconds=seconds)).steps for seconds in (5.0, 30.0, 300.0)
    }
    assert {seconds: (steps.compiled, steps.chunk) for seconds, steps in chosen.items()} == {
        5.0: (False, 1), 30.0: (True, 1), 300.0: (True, 5),
    }  # fmt: skip


@pytest.mark.parametrize("seconds", [0.0, -1.0, math.nan, math.inf])
def test_invalid_seconds_are_refused(seconds: float) -> None:
    with pytest.raises(InvalidValue, match="seconds"):
        Run(Bilinear(), PLAIN, seconds=seconds)


def test_the_number_of_buffered_steps_is_bounded(monkeypatch: pytest.MonkeyPatch, clock: list[float]) -> None:
    from detente.training import run as run_file

    monkeypatch.setattr(run_file, "MAX_BUFFERED_STEPS", 16)
    ticks = train(Run(Bilinear(), PLAIN, steps=UNLIMITED_STEPS, seconds=100.0, compile="off"))
    steps = [tick.step for tick in islice(ticks, 8)]
    assert max(b - a for a, b in pairwise(steps)) == 16, "a two-hundredth of the budget is 32 steps"
    del clock
