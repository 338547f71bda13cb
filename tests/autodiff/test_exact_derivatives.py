"""Replacements of torch's operations: equal values and statistics, used only where they are needed."""

# pyright: reportArgumentType=false, reportAttributeAccessIssue=false, reportCallIssue=false, reportIndexIssue=false, reportPrivateImportUsage=false, reportReturnType=false, reportUnusedExpression=false

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn import functional

from detente import methods
from detente.autodiff import (
    input_gradient,
    per_sample_gradients,
    player_gradient,
    vector_field,
    vector_jacobian,
)
from detente.autodiff.exact_derivatives import _operations, _Replaced
from detente.autodiff.exact_normalization import batch_norm
from detente.errors import InvalidValue
from detente.game import Batch, Buffers, Vectors
from detente.games.adversarial import Adversarial
from detente.games.low_dimensional import LowDimensional
from detente.methods.method import Method
from detente.networks.mlp import MLP
from detente.penalties.r1 import R1
from detente.training.stepper import Stepper


def test_batch_norm_values_and_running_statistics_equal_torch() -> None:
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(4, 3, 5, generator=generator, dtype=torch.float64)
    weight, bias = torch.randn(2, 3, generator=generator, dtype=torch.float64)
    statistics, expected_statistics = ((torch.zeros(3).double(), torch.ones(3).double()) for _ in range(2))
    output = batch_norm(x, *statistics, weight, bias, True, 0.3, 1e-4)
    torch.testing.assert_close(
        output, functional.batch_norm(x, *expected_statistics, weight, bias, True, 0.3, 1e-4), rtol=1e-12, atol=0
    )
    torch.testing.assert_close(statistics, expected_statistics, rtol=1e-12, atol=0)


def penalised() -> Adversarial:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        discriminator = nn.Sequential(nn.Linear(2, 4), nn.BatchNorm1d(4), nn.Tanh(), nn.Linear(4, 1)).double()
        generator = MLP(3, 2, 4, 1, "tanh").double()
    points = torch.randn(16, 2, generator=torch.Generator().manual_seed(0))
    return Adversarial(generator, discriminator, points, 3, penalties=R1(), batch=6)


@pytest.mark.filterwarnings("ignore:normalisation")  # as the set-up deserves
def test_consensus_with_a_penalty_is_the_gradient_of_half_the_squared_field() -> None:
    """J(x)ᵀ v(x) against central differences of ½‖v(x)‖²: torch's own third derivative misses by several per cent."""
    game = penalised()
    random = torch.Generator().manual_seed(1)
    vectors, buffers = game.initial(random)
    batch = game.draw(random)
    _, pull = vector_jacobian(game, vectors, buffers, batch)

    def half_square(along: dict[str, torch.Tensor], step: float) -> float:
        at = {name: v + step * along[name] for name, v in vectors.items()}
        return sum(float(block.square().sum()) for block in vector_field(game, at, buffers, batch).field.values()) / 2

    for _ in range(3):
        along = {name: torch.randn(v.shape, generator=random, dtype=v.dtype) for name, v in vectors.items()}
        slope = (half_square(along, 1e-5) - half_square(along, -1e-5)) / 2e-5
        actual = sum(float(pull[name] @ along[name]) for name in vectors)
        assert abs(actual - slope) <= 1e-6 * max(1.0, abs(slope))


def torch_and_replaced(function: Callable[[], object]) -> tuple[object, object]:
    """Return the results of a call with torch's operations and with the replacements."""
    with _Replaced(_operations(3)):
        replaced = function()
    return function(), replaced


X = torch.randn(4, 6, 5, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
W, B = torch.linspace(0.5, 1.5, 12, dtype=torch.float64).view(2, 6)
INDICES = torch.tensor([0, 2, 2, 1, 3, 0, 2])
ROWS = torch.randn(4, 3, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
VALUES: dict[str, Callable[[], object]] = {
    "layer norm": lambda: functional.layer_norm(X, (6, 5), None, X[0], eps=1e-3),
    "torch.layer_norm": lambda: torch.layer_norm(X, (5,)),
    "native layer norm": lambda: torch.native_layer_norm(X, (5,), W[:5], None, 1e-5),
    "layer norm, bfloat16": lambda: functional.layer_norm(X.bfloat16(), (5,)).float(),
    "native batch norm": lambda: torch.native_batch_norm(X, W, B, None, None, True, 0.1, 1e-5),
    "instance norm": lambda: functional.instance_norm(X, weight=W, bias=B),
    "weight norm": lambda: torch._weight_norm(X, X[:, :1, :1].contiguous(), 0),
    "weight norm, last axis": lambda: torch._weight_norm(X, X[:1, :1].contiguous(), 2),
    "hardsigmoid": lambda: functional.hardsigmoid(4 * X),
    "cdist": lambda: torch.cdist(X, X[:, :2], 3.0),
    "pdist of equal rows": lambda: functional.pdist(X[0, [0, 1, 0]]),
    "logcumsumexp": lambda: X.logcumsumexp(1),
    "bags, mean": lambda: functional.embedding_bag(INDICES.view(1, 7), ROWS),
    "bags, padded": lambda: functional.embedding_bag(INDICES.view(7, 1), ROWS, mode="max", padding_idx=2),
    "bags, padded mean": lambda: functional.embedding_bag(INDICES[1:].view(3, 2), ROWS, padding_idx=2),
    "ragged bags": lambda: functional.embedding_bag(INDICES, ROWS, torch.tensor([0, 2, 2, 5])),
    "ragged bags, last offset": lambda: functional.embedding_bag(
        INDICES, ROWS, torch.tensor([0, 2, 7]),
        mode="sum", include_last_offset=True, per_sample_weights=X.flatten()[:7],
    ),
    "transposed convolution": lambda: functional.conv_transpose1d(X, X[0][:, None, :3], None, 3, 1, 2),
    "attention": lambda: functional.scaled_dot_product_attention(X[None], X[None], X[None], is_causal=True),
}  # fmt: skip


@pytest.mark.parametrize("function", VALUES.values(), ids=VALUES.keys())
def test_replaced_operations_equal_torch(function: Callable[[], object]) -> None:
    torch.testing.assert_close(*torch_and_replaced(function), rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("track", [torch.nn.InstanceNorm1d, torch.nn.BatchNorm1d])
def test_running_statistics_equal_torch(track: type[nn.Module]) -> None:
    replaced, original = (track(6, momentum=0.3, track_running_stats=True).double() for _ in range(2))
    with _Replaced(_operations(3)):
        replaced(X)
    original(X)
    torch.testing.assert_close(dict(replaced.named_buffers()), dict(original.named_buffers()), rtol=1e-12, atol=0)


@pytest.mark.parametrize("layer", [nn.LSTM, nn.GRU, nn.RNN])
def test_recurrent_layers_step_by_step_equal_torch(layer: Callable[..., nn.Module]) -> None:
    """Two layers, bidirectional, batch first; also under torch.vmap."""
    net = layer(5, 3, 2, bidirectional=True, batch_first=True).double()

    def outputs(x: Tensor) -> Tensor:
        y, states = net(x)
        return torch.cat([y.flatten(), *[s.flatten() for s in (states if isinstance(states, tuple) else (states,))]])

    def mapped(x: Tensor) -> Tensor:
        with _Replaced(_operations(1)):
            return outputs(x)

    both = torch.stack([X, X.tanh()])
    torch.testing.assert_close(torch.vmap(mapped)(both), torch.stack([outputs(X), outputs(X.tanh())]))


class Last(nn.Module):
    """A recurrent critic."""

    def __init__(self) -> None:
        super().__init__()
        self.recurrent, self.score = nn.LSTM(1, 4, batch_first=True), nn.Linear(4, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.score(self.recurrent(x[..., None])[0][:, -1])


@pytest.mark.parametrize("method", [methods.debiased_consensus, methods.covariance_langevin])
def test_an_lstm_is_differentiated_sample_by_sample(method: Callable[[], Method]) -> None:
    game = Adversarial(nn.Linear(2, 2), Last(), torch.rand(16, 2), 2, batch=4)
    vectors, buffers = game.initial(torch.Generator().manual_seed(0))
    batch = game.draw(torch.Generator().manual_seed(0))
    per_sample = per_sample_gradients(game, "discriminator", vectors, buffers, batch)
    mean = player_gradient(game, "discriminator", vectors, buffers, batch).field["discriminator"]
    torch.testing.assert_close(per_sample.mean(0), mean, rtol=1e-4, atol=1e-6)
    Stepper(game, method()).step()


def test_first_derivatives_equal_torch_bit_for_bit() -> None:
    critic = nn.Sequential(nn.Linear(2, 4), nn.LayerNorm(4), nn.Linear(4, 1))
    game = Adversarial(nn.Linear(2, 2), critic, torch.rand(16, 2), 2, batch=4)
    vectors, buffers = game.initial(torch.Generator().manual_seed(0))
    batch = game.draw(torch.Generator().manual_seed(0))
    vector = vectors["discriminator"].clone().requires_grad_()
    loss = game.losses({**vectors, "discriminator": vector}, buffers, batch)[0]["discriminator"]
    (expected,) = torch.autograd.grad(loss, vector)
    assert torch.equal(vector_field(game, vectors, buffers, batch).field["discriminator"], expected)


class Sloped(LowDimensional):
    """A game that names no modules and no penalties, and has weight norm and a slope in a loss."""

    def losses(
        self, vectors: Vectors, buffers: Buffers, batch: Batch, players: tuple[str, ...] | None = None
    ) -> tuple[dict[str, Tensor], Buffers]:
        x = torch.cat([*vectors.values()])

        def score(points: Tensor) -> Tensor:
            weight = torch._weight_norm(torch.outer(x, x) + 0.3, x[:, None] + 2, 0)
            return functional.layer_norm(points @ weight.repeat(1, 2), (4,)).sin().sum(1)

        points = x.outer(x.new_tensor([0.3, 1.2])).T
        slope = input_gradient(score, points).square().sum() + score(points).sum()
        return {name: (index + 1) * slope for index, name in enumerate(players or self.players)}, buffers


def test_derivatives_of_a_custom_game_equal_finite_differences() -> None:
    game = Sloped("f3", start=(1.2, -0.7))
    vectors, buffers = game.initial(torch.Generator())
    vectors, batch = {n: v.double() for n, v in vectors.items()}, game.draw(torch.Generator())
    field = vector_field(game, vectors, buffers, batch).field
    _, pull = vector_jacobian(game, vectors, buffers, batch)
    for name, vector in vectors.items():
        at = [{**vectors, name: vector + step} for step in (1e-5, -1e-5)]
        losses = [game.losses(point, buffers, batch)[0][name] for point in at]
        squares = [
            torch.cat([*vector_field(game, point, buffers, batch).field.values()]).square().sum() / 2 for point in at
        ]
        for actual, (more, less) in ((field, losses), (pull, squares)):
            torch.testing.assert_close(actual[name].sum(), (more - less).detach() / 2e-5, rtol=1e-6, atol=1e-8)


def test_an_operation_that_torch_differentiates_once_is_refused_by_name() -> None:
    class Critic(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.score = nn.Linear(2, 6)

        def forward(self, x: Tensor) -> Tensor:
            return functional.multi_margin_loss(self.score(x), (x[:, 0] > 0.5).long(), p=2, reduction="none")

    game = Adversarial(nn.Linear(2, 2), Critic(), torch.rand(16, 2), 2, batch=4)
    Stepper(game, methods.simultaneous()).step()
    with pytest.raises(InvalidValue, match="multi_margin_loss_backward.*as often as"):
        Stepper(game, methods.consensus()).step()


class Square(torch.autograd.Function):
    """x² with a derivative that torch takes for a constant."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        ctx.save_for_backward(x)
        return x * x

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        (x,) = ctx.saved_tensors
        return 2 * x * gradient


class Squared(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return Square.apply(x)  # type: ignore[return-value]


def test_a_once_differentiable_function_is_refused_if_it_is_differentiated_twice() -> None:
    def game(**settings: Any) -> Adversarial:
        discriminator = nn.Sequential(nn.Linear(2, 4), Squared(), nn.Linear(4, 1))
        return Adversarial(nn.Linear(2, 2), discriminator, torch.rand(16, 2), 2, batch=4, **settings)

    Stepper(game(), methods.alternating()).step()
    for second_order, method in ((game(), methods.consensus()), (game(penalties=R1()), methods.alternating())):
        with pytest.raises(InvalidValue, match="once_differentiable"):
            Stepper(second_order, method).step()
