"""Schedules against their formulas in Python's numbers, against torch's schedulers, traced, mapped, and as text."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.fx.experimental.proxy_tensor import make_fx
from torch.optim import lr_scheduler

from detente import schedules
from detente.errors import InvalidValue
from detente.registry import members
from detente.schedules import (
    Annealed,
    Constant,
    Cosine,
    DelayedStart,
    Exponential,
    Linear,
    Piecewise,
    PiecewiseLinear,
    Polynomial,
    Product,
    Repeated,
    Schedule,
    Sequential,
    Step,
    Sum,
    Torch,
    Warmup,
    parse,
    value,
)


def line(t: int, start: float, end: float, steps: int) -> float:
    return start + (end - start) * min(t / steps, 1)


def between(t: int) -> float:
    """Return the line through (2, 1.0), (5, 0.1) and (9, 0.4)."""
    if t < 2:
        return 1.0
    return line(t - 2, 1.0, 0.1, 3) if t < 5 else line(t - 5, 0.1, 0.4, 4)


FORMULAS: dict[str, tuple[Schedule, Callable[[int], float]]] = {
    "constant": (Constant(0.3), lambda t: 0.3),
    "linear": (Linear(0.1, 0.013, 7), lambda t: line(t, 0.1, 0.013, 7)),
    "cosine": (Cosine(0.3, 0.01, 9), lambda t: 0.01 + 0.29 * 0.5 * (1 + math.cos(math.pi * min(t / 9, 1)))),
    "exponential": (Exponential(0.1, 0.37, 3), lambda t: 0.1 * 0.37 ** (t / 3)),
    "annealed": (Annealed(4.0, 5), lambda t: 1 / (4 + math.exp((t / 5) ** 2))),
    "step": (Step(0.7, 0.3, 4), lambda t: 0.7 * 0.3 ** (t // 4)),
    "polynomial": (Polynomial(0.7, 0.1, 8, 3.0), lambda t: 0.1 + 0.6 * (1 - min(t / 8, 1)) ** 3),
    "piecewise": (Piecewise((0.1, 0.7, 0.2), (3, 8)), lambda t: 0.1 if t < 3 else 0.7 if t < 8 else 0.2),
    "piecewise_linear": (PiecewiseLinear((1.0, 0.1, 0.4), (2, 5, 9)), between),
    "warmup": (Warmup(0.2, 5, 0.1), lambda t: 0.2 * line(t, 0.1, 1, 5)),
    "warmup of another": (Warmup(Step(1.0, 0.5, 3), 5), lambda t: 0.5 ** (t // 3) * line(t, 0, 1, 5)),
    "delayed_start": (DelayedStart(3, weight=0.8), lambda t: 0.8 if t >= 3 else 0.0),
    "delayed_start with a ramp": (DelayedStart(3, 4, 2.0), lambda t: 2.0 * min(max(t - 3, 0) / 4, 1)),
    "sum": (Linear(0.1, 0.3, 5) + Constant(0.2), lambda t: line(t, 0.1, 0.3, 5) + 0.2),
    "product": (2 * Linear(0.1, 0.3, 5) * Linear(1, 0, 9), lambda t: 2 * line(t, 0.1, 0.3, 5) * line(t, 1, 0, 9)),
    "sequential": (
        Linear(0, 0.1, 4).then(Linear(0.1, 0, 3), 4),
        lambda t: line(t, 0, 0.1, 4) if t < 4 else line(t - 4, 0.1, 0, 3),
    ),
    "sequential of numbers": (Sequential(0.1, 0.4, 6), lambda t: 0.1 if t < 6 else 0.4),
    "repeated": (Repeated(Linear(1, 0, 5), 5), lambda t: line(t % 5, 1, 0, 5)),
    "torch": (Torch("ExponentialLR", 0.1, 10, every=2, gamma=0.7), lambda t: 0.1 * 0.7 ** min(t // 2, 10)),
}
every_schedule = pytest.mark.parametrize("name", FORMULAS)
TIMES = (*range(14), 100)


def test_every_member_is_tested() -> None:
    assert {type(schedule) for schedule, _ in FORMULAS.values()} == set(members("schedules").values())


@every_schedule
def test_values_equal_the_formula(name: str) -> None:
    schedule, formula = FORMULAS[name]
    for t in TIMES:
        double, single = (value(schedule, torch.tensor(t), dtype) for dtype in (torch.float64, torch.float32))
        assert isinstance(double, Tensor) and double.dtype == torch.float64 and double.shape == ()
        assert isinstance(single, Tensor) and single.dtype == torch.float32 and single.shape == ()
        assert float(double) == pytest.approx(formula(t), rel=1e-14, abs=1e-16), t
        assert float(single) == pytest.approx(formula(t), rel=1e-5, abs=1e-7), t


@every_schedule
def test_values_can_be_traced_and_mapped(name: str) -> None:
    schedule, _ = FORMULAS[name]
    times = torch.tensor(TIMES)
    for convert in (lambda t: t, torch.Tensor.double):
        one_by_one = torch.stack([schedule(convert(t)) for t in times])
        torch.testing.assert_close(torch.vmap(schedule)(convert(times)), one_by_one, rtol=1e-6, atol=1e-8)
        traced = make_fx(schedule)(convert(torch.tensor(0)))
        torch.testing.assert_close(torch.stack([traced(convert(t)) for t in times]), one_by_one, rtol=0, atol=0)


class TableSchedule(Schedule):
    """A user's own schedule, for whole steps only."""

    def __call__(self, t: Tensor) -> Tensor:
        return torch.tensor([0.1, 0.2, 0.3, 0.4])[t]


def test_a_custom_schedule_in_a_combination_gets_whole_steps() -> None:
    combined = Warmup(TableSchedule().then(TableSchedule() * 2, 2), 4)
    assert not combined.precise and (Linear(1, 0, 3) + 1).precise
    for t, expected in ((1, 0.2 / 4), (2, 2 * 0.1 * 2 / 4), (3, 2 * 0.2 * 3 / 4)):
        assert float(value(combined, torch.tensor(t), torch.float64)) == pytest.approx(expected)  # pyright: ignore


# ---- Schedulers of torch ---------------------------------------------------------------------------------------------

SCHEDULERS: dict[str, dict[str, Any]] = {
    "LambdaLR": {"lr_lambda": lambda epoch: 0.9**epoch},
    "MultiplicativeLR": {"lr_lambda": lambda epoch: 0.95},
    "StepLR": {"step_size": 7, "gamma": 0.3},
    "MultiStepLR": {"milestones": [5, 12], "gamma": 0.5},
    "ConstantLR": {"factor": 0.5, "total_iters": 8},
    "LinearLR": {"start_factor": 0.2, "total_iters": 8},
    "ExponentialLR": {"gamma": 0.9},
    "PolynomialLR": {"total_iters": 15, "power": 2.0},
    "CosineAnnealingLR": {"T_max": 12, "eta_min": 0.001},
    "CosineAnnealingWarmRestarts": {"T_0": 5, "T_mult": 2},
    "CyclicLR": {"base_lr": 0.01, "max_lr": 0.2, "step_size_up": 6},
    "OneCycleLR": {"max_lr": 0.3, "total_steps": 31},
}


def composed(optimizer: torch.optim.Optimizer) -> lr_scheduler.LRScheduler:
    parts = [lr_scheduler.LinearLR(optimizer, 0.1, 1.0, 5), lr_scheduler.CosineAnnealingLR(optimizer, 20)]
    return lr_scheduler.SequentialLR(optimizer, parts, milestones=[5])


def chained(optimizer: torch.optim.Optimizer) -> Any:
    parts = [lr_scheduler.ConstantLR(optimizer, 0.1, 4), lr_scheduler.ExponentialLR(optimizer, 0.9)]
    return lr_scheduler.ChainedScheduler(parts)


def by_torch(make: Callable[..., Any], settings: dict[str, Any], key: str, steps: int) -> list[float]:
    optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(1))], 0.1, momentum=0.9)
    scheduler, values = make(optimizer, **settings), []
    for _ in range(steps):
        values.append(optimizer.param_groups[0][key])
        optimizer.step()
        scheduler.step()
    return values


def test_every_scheduler_of_torch_that_is_a_function_of_the_step_is_compared() -> None:
    base = lr_scheduler.LRScheduler
    known = {
        name
        for name, item in vars(lr_scheduler).items()
        if isinstance(item, type) and issubclass(item, base) and item is not base and not name.startswith("_")
    }
    assert known - {"SequentialLR", "ChainedScheduler", "ReduceLROnPlateau"} == set(SCHEDULERS)


@pytest.mark.filterwarnings("ignore:.*EPOCH_DEPRECATION|.*epoch parameter.*:UserWarning")  # SequentialLR's own
@pytest.mark.parametrize("kind", [*SCHEDULERS, composed, chained], ids=lambda kind: getattr(kind, "__name__", kind))
def test_schedules_equal_torchs_schedulers(kind: Any) -> None:
    settings = SCHEDULERS.get(kind, {}) if isinstance(kind, str) else {}
    make = getattr(lr_scheduler, kind) if isinstance(kind, str) else kind
    schedule = schedules.torch(make, lr=0.1, steps=29, **settings)
    for t, expected in enumerate(by_torch(make, settings, "lr", 30)):
        assert float(schedule(torch.tensor(t).double())) == expected
        assert float(schedule(torch.tensor(t))) == float(torch.tensor(expected))


def test_the_momentum_of_a_torch_scheduler_can_be_used() -> None:
    settings = SCHEDULERS["OneCycleLR"]
    schedule = Torch("OneCycleLR", lr=0.1, steps=29, key="momentum", **settings)
    values = [float(schedule(torch.tensor(t).double())) for t in range(30)]
    assert values == by_torch(lr_scheduler.OneCycleLR, settings, "momentum", 30) and len(set(values)) > 9


def test_building_a_table_gives_no_warnings_and_draws_no_random_numbers() -> None:
    before = torch.get_rng_state()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        Torch("CosineAnnealingLR", 0.1, 20, T_max=20)
    assert torch.equal(torch.get_rng_state(), before)


# ---- Text -----------------------------------------------------------------------------------------------------------

TEXTS: dict[str, Schedule] = {
    "0.1": Constant(0.1),
    "cosine(1e-4, 0, 10000)": Cosine(1e-4, 0, 10_000),
    "step(start=1e-4, factor=0.1, every=1000)": Step(1e-4, 0.1, 1000),
    "warmup(cosine(1e-4, 0, 100), 10) * 2 + 0.5": Sum(Product(Warmup(Cosine(1e-4, 0, 100), 10), 2), 0.5),
    " linear(0, 0.1, 5).then(exponential(0.1, 0.5, 3), 5).then(0.0, 20)": Linear(0, 0.1, 5)
    .then(Exponential(0.1, 0.5, 3), 5)
    .then(0.0, 20),
    "piecewise((0.1, 0.2), (5,))": Piecewise((0.1, 0.2), (5,)),
    "piecewise_linear([0.1, -0.2], [0, 5])": PiecewiseLinear((0.1, -0.2), (0, 5)),
    "repeated(polynomial(1, 0, 5), 5)": Repeated(Polynomial(1, 0, 5), 5),
    "sequential(annealed(4.0, 5), 0.1, 3)": Sequential(Annealed(4.0, 5), 0.1, 3),
    "torch('StepLR', 0.1, 50, step_size=10)": Torch("StepLR", 0.1, 50, step_size=10),
    "tests.schedules.test_schedules.TableSchedule()": TableSchedule(),
}


@pytest.mark.parametrize("text", TEXTS)
def test_schedules_are_parsed_from_text(text: str) -> None:
    parsed, expected = parse(text), TEXTS[text]
    assert parsed == expected or isinstance(expected, TableSchedule)
    for t in range(4):
        assert torch.equal(parsed(torch.tensor(t)), expected(torch.tensor(t)))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("cosin(1, 0, 5)", r"schedule: got 'cosin'.*Did you mean 'cosine'\?"),
        ("cosine(1, 0)", "schedule: got 'cosine.*missing 1 required positional argument: 'steps'"),
        ("cosine(1, 0, 0)", "steps: got 0; allowed: an integer ≥ 1"),
        ("cosine(1, 0, 5", "schedule: got 'cosine.*At "),
        ("cosine(1, 0, 5) - 1", "schedule: got .*Not understood"),
        ("__import__('os').system('true')", "schedule: got"),
        ("os.system('true')", "schedule: got 'os.system'; allowed: MODULE.NAME of a schedule"),
        ("no_such_module.Mine()", "schedule: got 'no_such_module.Mine'"),
        ("linear(0, 1, 5) * 'a'", "schedule: got .*Neither a number nor a schedule: 'a'"),
        ("'a'", "schedule: got"),
        ("(lambda: 1)()", "schedule: got"),
        ("linear(0, 1, 5).__class__", "schedule: got"),
    ],
)
def test_invalid_text_gives_a_one_line_error(text: str, message: str) -> None:
    with pytest.raises(InvalidValue, match=message) as caught:
        parse(text)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("build", "field"),
    [
        (lambda: Step(1, 0.5, 0), "every"),
        (lambda: Warmup(0.1, 0), "steps"),
        (lambda: Piecewise((0.1, 0.2), ()), "boundaries"),
        (lambda: Piecewise((0.1, 0.2, 0.3), (5, 5)), "boundaries"),
        (lambda: PiecewiseLinear((0.1, math.inf), (0, 1)), "values"),
        (lambda: PiecewiseLinear((0.1, 0.2), (0,)), "steps"),
        (lambda: Linear(0, 1, 5).then(0.1, 0), "at"),
        (lambda: Torch("ReduceLROnPlateau"), "kind"),
        (lambda: Torch("StepsLR"), "kind"),
        (lambda: Torch("StepLR", 0.1, 5), "kind"),
        (lambda: Torch("StepLR", 0.1, 5, key="weight_decay", step_size=2), "key"),
    ],
)
def test_schedules_refuse_bad_settings_by_name(build: Callable[[], object], field: str) -> None:
    with pytest.raises(InvalidValue) as caught:
        build()
    assert caught.value.field == field
