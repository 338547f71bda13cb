"""Weight decay, AMSGrad, AdamW, and clipped gradients against `torch.optim` and `torch.nn.utils`."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from detente.errors import InvalidValue
from detente.optimizers.adam import Adam, AdamW
from detente.optimizers.base import Optimizer
from detente.optimizers.clipped_gradient import ClippedGradient
from detente.optimizers.momentum import Momentum
from detente.optimizers.optimistic_adam import OptimisticAdam
from detente.optimizers.rmsprop import RMSprop, RMSpropTensorflow
from detente.optimizers.sgd import SGD
from detente.schedules import Constant, Linear, Piecewise

RATE, DECAY, STEPS = 0.03, 0.2, 20
BETAS = (0.6, 0.9)
Theirs = Callable[[list[Tensor]], torch.optim.Optimizer]
PAIRS: dict[str, tuple[Optimizer, Theirs]] = {
    "sgd": (SGD(RATE, DECAY), lambda p: torch.optim.SGD(p, RATE, weight_decay=DECAY)),
    "momentum": (
        Momentum(RATE, 0.8, weight_decay=DECAY),
        lambda p: torch.optim.SGD(p, RATE, 0.8, weight_decay=DECAY),
    ),
    "nesterov": (
        Momentum(RATE, 0.8, True, DECAY),
        lambda p: torch.optim.SGD(p, RATE, 0.8, weight_decay=DECAY, nesterov=True),
    ),
    "rmsprop": (
        RMSprop(RATE, 0.9, weight_decay=DECAY),
        lambda p: torch.optim.RMSprop(p, RATE, 0.9, weight_decay=DECAY),
    ),
    "adam": (Adam(RATE, BETAS, weight_decay=DECAY), lambda p: torch.optim.Adam(p, RATE, BETAS, weight_decay=DECAY)),
    "amsgrad": (Adam(RATE, BETAS, amsgrad=True), lambda p: torch.optim.Adam(p, RATE, BETAS, amsgrad=True)),
    "amsgrad with decay": (
        Adam(RATE, BETAS, weight_decay=DECAY, amsgrad=True),
        lambda p: torch.optim.Adam(p, RATE, BETAS, weight_decay=DECAY, amsgrad=True),
    ),
    "adamw": (AdamW(RATE, BETAS), lambda p: torch.optim.AdamW(p, RATE, BETAS)),
    "adamw with amsgrad": (
        AdamW(RATE, BETAS, weight_decay=DECAY, amsgrad=True),
        lambda p: torch.optim.AdamW(p, RATE, BETAS, weight_decay=DECAY, amsgrad=True),
    ),
}


def gradient(x: Tensor, t: int) -> Tensor:
    """Return a gradient that grows and shrinks, so that AMSGrad differs from Adam."""
    return (2 * x - torch.arange(len(x)).to(x)) * (1 + 3 * (t % 7 == 0))


def start(dtype: torch.dtype = torch.float64) -> Tensor:
    return torch.randn(6, generator=torch.Generator().manual_seed(0), dtype=torch.float64).to(dtype)


def walk(optimizer: Optimizer, dtype: torch.dtype, in_place: bool, graph: bool = False) -> Tensor:
    """Return the points of an optimizer, which sees tensors on autograd's graph if `graph`."""
    x, path = start(dtype), []
    memory = optimizer.initial(x)
    for t in range(STEPS):
        direction = gradient(x, t).requires_grad_(graph)
        step = optimizer.step_in_place if in_place else optimizer
        x, memory = step(x, direction, memory, torch.tensor(t))
        x, memory = x.detach(), {name: tensor.detach() for name, tensor in memory.items()}
        path.append(x.clone())  # the next step may overwrite x
    return torch.stack(path)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32], ids=str)
@pytest.mark.parametrize("name", PAIRS)
def test_members_equal_torch_optim(name: str, dtype: torch.dtype) -> None:
    member, torch_optimizer = PAIRS[name]
    x, path = start(dtype), []
    optimizer = torch_optimizer([x])
    for t in range(STEPS):
        x.grad = gradient(x, t)
        optimizer.step()
        path.append(x.clone())
    tolerance = 1e-12 if dtype == torch.float64 else 3e-6
    for how in ({"in_place": True}, {"in_place": False}, {"in_place": False, "graph": True}):
        torch.testing.assert_close(walk(member, dtype, **how), torch.stack(path), rtol=tolerance, atol=tolerance)


def test_amsgrad_differs_from_adam_here() -> None:
    difference = walk(Adam(RATE, BETAS), torch.float64, True) - walk(
        Adam(RATE, BETAS, amsgrad=True), torch.float64, True
    )
    assert float(difference.abs().max()) > 1e-3


SCHEDULED: dict[str, tuple[Callable[..., Optimizer], float, float]] = {
    "sgd weight_decay": (lambda s: SGD(RATE, s), 0.1, 0.4),
    "momentum": (lambda s: Momentum(RATE, s), 0.2, 0.9),
    "momentum weight_decay": (lambda s: Momentum(RATE, 0.5, True, s), 0.1, 0.4),
    "rmsprop smoothing": (lambda s: RMSprop(RATE, s), 0.5, 0.9),
    "rmsprop weight_decay": (lambda s: RMSprop(RATE, weight_decay=s), 0.1, 0.4),
    "rmsprop_tensorflow smoothing": (lambda s: RMSpropTensorflow(RATE, s), 0.5, 0.9),
    "adam first beta": (lambda s: Adam(RATE, (s, 0.9)), 0.1, 0.9),
    "adam second beta": (lambda s: Adam(RATE, (0.5, s)), 0.5, 0.99),
    "adam weight_decay": (lambda s: Adam(RATE, weight_decay=s), 0.1, 0.4),
    "adamw weight_decay": (lambda s: AdamW(RATE, weight_decay=s), 0.1, 0.4),
    "optimistic_adam betas": (lambda s: OptimisticAdam(RATE, (s, s)), 0.1, 0.9),
    "clipped norm": (lambda s: ClippedGradient(SGD(RATE), norm=s), 0.1, 1.0),
    "clipped value": (lambda s: ClippedGradient(SGD(RATE), norm=None, value=s), 0.1, 1.0),
}


@pytest.mark.parametrize("name", SCHEDULED)
def test_a_schedule_is_read_at_each_step(name: str) -> None:
    """Each step is that of the constant; so the last steps differ from those with the first constant."""
    make, first, last = SCHEDULED[name]
    optimizer, x = make(Piecewise((first, last), (10,))), start()
    memory = optimizer.initial(x)
    for t in range(STEPS):
        constant = make(first if t < 10 else last)
        expected = constant(x, gradient(x, t), memory, torch.tensor(t))
        x, memory = optimizer(x, gradient(x, t), memory, torch.tensor(t))
        torch.testing.assert_close((x, memory), expected, rtol=1e-12, atol=1e-14)
    assert not torch.allclose(x, make(first)(x, gradient(x, 0), memory, torch.tensor(0))[0], rtol=0, atol=1e-9)


def test_scheduled_betas_equal_torchs_param_groups() -> None:
    first, second = Linear(0.5, 0.9, 10), Linear(0.9, 0.99, 10)
    x, path = start(), []
    optimizer = torch.optim.Adam([x], RATE)
    for t in range(STEPS):
        optimizer.param_groups[0]["betas"] = tuple(float(beta(torch.tensor(t).double())) for beta in (first, second))
        x.grad = gradient(x, t)
        optimizer.step()
        path.append(x.clone())
    actual = walk(Adam(RATE, (first, second)), torch.float64, False)
    torch.testing.assert_close(actual, torch.stack(path), rtol=1e-11, atol=1e-12)


def clipped_by_torch(norm: float | None, value: float | None, scale: float) -> tuple[Tensor, Tensor]:
    """Return the point after one SGD step on gradients clipped by torch, and the gradients before, of two tensors."""
    parameters = [nn.Parameter(torch.zeros(2, 3).double()), nn.Parameter(torch.zeros(4).double())]
    generator = torch.Generator().manual_seed(1)
    direction = scale * torch.randn(10, generator=generator, dtype=torch.float64)
    for parameter, piece in zip(parameters, direction.clone().split([6, 4]), strict=True):
        parameter.grad = piece.view(parameter.shape)
    if value is not None:
        nn.utils.clip_grad_value_(parameters, value)
    if norm is not None:
        nn.utils.clip_grad_norm_(parameters, norm)
    return torch.cat([-RATE * p.grad.reshape(-1) for p in parameters if p.grad is not None]), direction


@pytest.mark.parametrize("scale", [0.01, 1.0, 100.0])
@pytest.mark.parametrize(("norm", "value"), [(0.5, None), (None, 0.7), (0.5, 0.3)])
def test_clipped_gradients_equal_torch(norm: float | None, value: float | None, scale: float) -> None:
    expected, direction = clipped_by_torch(norm, value, scale)
    zero, optimizer = torch.zeros(10).double(), ClippedGradient(SGD(RATE), norm, value)
    before = direction.clone()
    for move in (optimizer, optimizer.step_in_place):
        actual, _ = move(zero.clone(), direction, optimizer.initial(zero), torch.tensor(0))
        torch.testing.assert_close(actual, expected, rtol=1e-12, atol=1e-15)
    assert torch.equal(direction, before)


@pytest.mark.parametrize(
    ("build", "field"),
    [
        (lambda: SGD(0.1, -0.1), "weight_decay"),
        (lambda: AdamW(weight_decay=float("inf")), "weight_decay"),
        (lambda: Adam(betas=(0.5,)), "betas"),  # pyright: ignore[reportArgumentType]
        (lambda: ClippedGradient(SGD(), norm=0.0), "norm"),
        (lambda: ClippedGradient(SGD(), norm=None), "norm"),
        (lambda: ClippedGradient(SGD(), value=-1.0), "value"),
    ],
)
def test_bad_settings_are_named(build: Callable[[], object], field: str) -> None:
    with pytest.raises(InvalidValue) as caught:
        build()
    assert caught.value.field == field


def test_constant_schedules_equal_numbers() -> None:
    scheduled = Adam(Constant(RATE), (Constant(0.6), Constant(0.9)), weight_decay=Constant(DECAY))
    plain = Adam(RATE, BETAS, weight_decay=DECAY)
    torch.testing.assert_close(
        walk(scheduled, torch.float64, True), walk(plain, torch.float64, True), rtol=1e-12, atol=0
    )
