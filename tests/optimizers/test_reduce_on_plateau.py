"""Reduction on a plateau against torch's scheduler, and in training runs that are interrupted."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from torch.optim.lr_scheduler import ReduceLROnPlateau

from detente.errors import InvalidValue
from detente.fields.gradient import Gradient
from detente.games.quadratic import Bilinear
from detente.methods.method import Method
from detente.optimizers.adam import Adam
from detente.optimizers.base import Optimizer
from detente.optimizers.clipped_gradient import ClippedGradient
from detente.optimizers.momentum import Momentum
from detente.optimizers.reduce_on_plateau import ReduceOnPlateau
from detente.optimizers.sgd import SGD
from detente.optimizers.torch_optimizer import Torch
from detente.schemes.simultaneous import Simultaneous
from detente.training.loop import Tick, train
from detente.training.run import Run

VALUES = [3.0, 2.0, 2.0, 1.9999, 2.1, 1.5, 1.49, 1.49, 1.6, 1.4, 1.4, 1.4, 1.4, 1.4, -0.5, -0.4, -0.5, -0.5, -0.5]
SETTINGS: list[tuple[dict[str, Any], dict[str, Any]]] = [
    ({"patience": 1}, {"patience": 1}),
    ({"patience": 0, "factor": 0.5, "cooldown": 2}, {"patience": 0, "factor": 0.5, "cooldown": 2}),
    ({"patience": 1, "least": 0.05}, {"patience": 1, "min_lr": 0.05 * 0.1, "eps": 0.0}),
    ({"patience": 1, "threshold": 0.1}, {"patience": 1, "threshold": 0.1}),
    (
        {"patience": 1, "threshold": 0.1, "threshold_mode": "absolute"},
        {"patience": 1, "threshold": 0.1, "threshold_mode": "abs"},
    ),
]


@pytest.mark.parametrize("kind", ["momentum", "adam"])
@pytest.mark.parametrize("better", ["lower", "higher"])
@pytest.mark.parametrize(("settings", "torch_settings"), SETTINGS, ids=str)
def test_steps_equal_torchs_scheduler(
    kind: str, better: Any, settings: dict[str, Any], torch_settings: dict[str, Any]
) -> None:
    x = torch.tensor([1.0, -2.0, 0.5]).double()
    expected = x.clone()
    inner, other = {
        "momentum": (Momentum(0.1, 0.5), torch.optim.SGD([expected], 0.1, 0.5)),
        "adam": (Adam(0.1, (0.5, 0.9)), torch.optim.Adam([expected], 0.1, (0.5, 0.9))),
    }[kind]
    scheduler = ReduceLROnPlateau(other, "min" if better == "lower" else "max", **{"factor": 0.1, **torch_settings})
    optimizer = ReduceOnPlateau(inner, "score", better, **settings)
    memory, t = optimizer.initial(x), torch.tensor(0)
    for number in VALUES:
        direction = torch.sin(3 * x) + 0.2
        x, memory = optimizer(x, direction, memory, t)
        expected.grad = torch.sin(3 * expected) + 0.2
        other.step()
        torch.testing.assert_close(x, expected, rtol=1e-12, atol=1e-13)
        score = number if better == "lower" else -number
        scheduler.step(score)
        memory = optimizer.observe(memory, {"score": score, "another": 0.0})
    assert float(memory["plateau_scale"]) == pytest.approx(other.param_groups[0]["lr"] / 0.1) and (
        float(memory["plateau_scale"]) < 1
    )


def test_other_metrics_change_nothing_and_a_scale_of_one_is_exact() -> None:
    x, direction, t = torch.randn(5, generator=torch.Generator().manual_seed(0)), torch.ones(5), torch.tensor(0)
    optimizer = ReduceOnPlateau(SGD(0.1), "score", patience=0)
    memory = optimizer.initial(x)
    assert optimizer.observe(memory, {"another": 1.0}) == memory
    assert torch.equal(optimizer(x, direction, memory, t)[0], SGD(0.1)(x, direction, {}, t)[0])


def diverging(optimizer: Optimizer, steps: int = 24, **settings: Any) -> Run:
    """Return a run on the bilinear game, on which simultaneous steps move away from the solution."""
    return Run(Bilinear(2), Method(Gradient(), Simultaneous(), optimizer), steps, measure_every=4, **settings)


def last(run: Run, start: Any = None) -> Tick:
    return list(train(run, start))[-1]


@pytest.mark.parametrize("inner", [Adam(0.1), Torch("AdamW", lr=0.1)], ids=["ours", "torch's"])
def test_interrupted_runs_continue_exactly(inner: Optimizer) -> None:
    """Also where the interruption is no regular measurement: its metrics are not seen by the optimizers."""
    optimizer = ClippedGradient(ReduceOnPlateau(inner, "distance_to_solution", factor=0.5, patience=0), norm=10.0)
    run = diverging(optimizer)
    whole = last(run)
    memory = whole.progress[0].state.memory["optimizers"]["x"]
    assert 0 < float(memory["plateau_scale"]) < 0.5
    for steps in (8, 10):
        part = last(replace(run, steps=steps))
        resumed = last(run, part.progress)
        torch.testing.assert_close(resumed.progress[0].state.flat(), whole.progress[0].state.flat(), rtol=0, atol=0)


@pytest.mark.filterwarnings("ignore:.*torch.jit.*:DeprecationWarning")
def test_compiled_and_mapped_runs_equal_eager_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("detente.training.inductor.compile_graph", lambda graph, example: graph)
    optimizer = ReduceOnPlateau(SGD(0.1), "distance_to_solution", factor=0.5, patience=0)
    eager, compiled = (last(diverging(optimizer, seeds=(0, 1), compile=how)) for how in ("off", "on"))
    assert "compiled" in compiled.execution
    for first, second in zip(eager.progress, compiled.progress, strict=True):
        torch.testing.assert_close(first.state.flat(), second.state.flat(), rtol=1e-6, atol=1e-7)


def test_metrics_that_the_run_does_not_measure_are_refused_before_it_starts() -> None:
    with pytest.raises(InvalidValue, match="metric: got 'distance'.*distance_to_solution"):
        last(diverging(ReduceOnPlateau(SGD(0.1), "distance")))
    with pytest.raises(InvalidValue, match="better: got 'higher'; allowed: 'lower' for the metric"):
        last(diverging(ReduceOnPlateau(SGD(0.1), "distance_to_solution", "higher")))
    with pytest.raises(InvalidValue, match="optimizer: got 'ReduceOnPlateau'"):
        last(diverging(ReduceOnPlateau(ReduceOnPlateau(SGD(0.1), "a"), "distance_to_solution")))
