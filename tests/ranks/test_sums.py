"""Sums over ranks and their derivatives, BatchNorm of the whole batch, and games that ranks cannot share."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from itertools import product as product_of
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.fx.experimental.proxy_tensor import make_fx
from torch.nn.functional import batch_norm, softplus

from detente import Networks, autodiff, batch_mean
from detente.autodiff.whole_batch_norm import WholeBatchNorm
from detente.errors import InvalidValue
from detente.game import EvaluationSettings, Game
from detente.games.presets.points import ring
from detente.networks.mlp import MLP
from detente.networks.packed import Packed
from detente.ranks import (
    Ranks,
    batch_deviation,
    counting_messages,
    gathered,
    mean_over_ranks,
    rows,
    sum_over_ranks,
    together,
)
from detente.state import flatten
from detente.training.mixing import check_mixing
from tests.ranks.job import Result

Numbers = dict[str, Any]


def apart(first: Tensor, second: Tensor) -> float:
    return float((first - second).detach().abs().max())


def rows_of_rank(x: Tensor, ranks: Ranks) -> Tensor:
    return rows({"x": x}, ranks)["x"]


def sums(ranks: Ranks) -> Numbers:
    """Derivatives of the sum over all rows of a function of their sum, to the third order."""
    whole = torch.arange(1.0, 9.0, dtype=torch.float64).view(4, 2) / 8

    def value(x: Tensor, total: Callable[[Tensor], Tensor]) -> Tensor:
        return (x.sin() * total(x.exp().sum(0)).square()).sum()

    with together(ranks):
        x, derivatives = rows_of_rank(whole, ranks).requires_grad_(), []
        expected, at = [], whole.clone().requires_grad_()
        result, whole_result = value(x, sum_over_ranks), value(at, lambda tensor: tensor)
        for _ in range(3):
            (derivative,) = torch.autograd.grad(result, x, create_graph=True)
            (whole_derivative,) = torch.autograd.grad(whole_result, at, create_graph=True)
            derivatives.append(apart(derivative, rows_of_rank(whole_derivative, ranks)))
            expected.append(float(whole_derivative.detach().abs().max()))
            result, whole_result = derivative.square().sum(), whole_derivative.square().sum()
        mapped = torch.vmap(torch.func.grad(partial(value, total=sum_over_ranks)))(torch.stack([x, 2 * x]).detach())
        looped = [torch.func.grad(partial(value, total=sum_over_ranks))(scale * x.detach()) for scale in (1, 2)]
    return {
        "derivatives": [d / e for d, e in zip(derivatives, expected, strict=True)],
        "mapped": apart(mapped, torch.stack(looped)),
    }


def statistics(ranks: Ranks) -> Numbers:
    whole = torch.randn(6, 5, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    with together(ranks), counting_messages() as messages:
        x = rows_of_rank(whole, ranks)
        count = messages.calls
        mean, deviation = batch_mean(x), batch_deviation(x)
        bucket = mean_over_ranks([x.mean(0), torch.tensor(3), x.mean().float()])
        gathered_rows = gathered(x, ranks)
    return {
        "mean": apart(mean, whole.mean()),
        "deviation": apart(deviation, whole.std(correction=0)),
        "bucket": apart(bucket[0], whole.mean(0)),
        "integer": int(bucket[1]),
        "dtype": str(bucket[2].dtype),
        "every": apart(gathered_rows.flatten(0, 1), whole),
        "messages": messages.calls - count,
        "bytes": messages.bytes,
    }


def cut(ranks: Ranks) -> Numbers:
    """The rows of accumulated parts: together the ranks have the parts that one process would evaluate."""
    batch = {"x": torch.arange(12), "t": torch.tensor(5)}
    parts = rows(batch, ranks, parts=3)
    return {f"rows{ranks.rank}": parts["x"].tolist(), "plain": int(parts["t"]), "type": str(parts["x"].dtype)}


def normalized(ranks: Ranks) -> Numbers:
    """BatchNorm's derivatives to the third order, with other cotangents on each rank, against torch's composition."""
    generator = torch.Generator().manual_seed(0)
    draw = partial(torch.randn, generator=generator, dtype=torch.float64)
    whole, cotangent, weight, bias = draw(6, 3, 2, 2), draw(6, 3, 2, 2), draw(3).exp(), draw(3)

    def of_ranks(x: Tensor, w: Tensor, b: Tensor) -> Tensor:
        return batch_norm(x, None, None, w, b, True)

    def composed(x: Tensor, w: Tensor, b: Tensor) -> Tensor:
        centred = x - x.mean((0, 2, 3), keepdim=True)
        y = centred * (centred.square().mean((0, 2, 3), keepdim=True) + 1e-5).rsqrt()
        return y * w.view(1, -1, 1, 1) + b.view(1, -1, 1, 1)

    own_x, own_c = rows_of_rank(whole, ranks), rows_of_rank(cotangent, ranks)
    with together(ranks), WholeBatchNorm():
        first = torch.autograd.grad((of_ranks(x := own_x.clone().requires_grad_(), weight, bias) * own_c).sum(), x)[0]
        actual = _chain(own_x, own_c, weight, bias, of_ranks)
        # The closed form against simple operations, with other cotangents of the weights on each rank.
        composed_form = _chain(own_x, own_c, weight, bias, of_ranks, k=1.0 + ranks.rank)
        closed_form = _chain(own_x, own_c, weight, bias, of_ranks, orders=2, k=1.0 + ranks.rank)
        traced = make_fx(lambda x, c: _chain(x, c, weight, bias, of_ranks))(own_x, own_c)(own_x, own_c)
        mean_bias = mean_over_ranks([tensor for tensor in actual if tensor.dim() == 1])
    expected = _chain(whole, cotangent, weight, bias, composed)
    at = whole.clone().requires_grad_()
    first_expected = torch.autograd.grad((composed(at, weight, bias) * cotangent).sum(), at)[0]
    return {
        "first": apart(first, rows_of_rank(first_expected, ranks)),
        "by x": [
            apart(f, rows_of_rank(e, ranks)) / float(e.abs().max())
            for f, e in zip(actual, expected, strict=True)
            if e.dim() == 4
        ],
        "by weights": [
            apart(ranks.count * f, e) / float(e.abs().max())
            for f, e in zip(mean_bias, [e for e in expected if e.dim() == 1], strict=True)
        ],
        "closed": max(apart(f, c) / float(f.abs().max()) for f, c in zip(composed_form, closed_form, strict=False)),
        "traced": max(apart(t, f) for t, f in zip(traced, actual, strict=True)),
    }


def _chain(
    x: Tensor, c: Tensor, w: Tensor, b: Tensor, norm: Callable[..., Tensor], orders: int = 3, k: float = 1.0
) -> list[Tensor]:
    """Return derivatives by x, weight and bias of a sum over rows, then of functions of these.

    The last is not differentiated again, so the second comes from the closed form if it is the last.
    """
    leaves = [tensor.clone().requires_grad_() for tensor in (x, w, b)]
    value, computed = (norm(*leaves).tanh() * c).sum(), []
    for order in range(orders):
        grads = torch.autograd.grad(value, leaves, create_graph=order < orders - 1)
        computed += grads
        # Each rank's derivative by the weight is its summand, and so is a linear function of it.
        value = (grads[0].sin() * c).sum() + k * (grads[1] @ w.cos() + grads[2] @ b)
    return [tensor.detach() for tensor in computed]


def derivatives(ranks: Ranks) -> Numbers:
    """Every function of `autodiff`, on a game that has no BatchNorm, with rows on each rank and with all of them."""
    game, generator = networks(partial(MLP, 2, 1, 8, 1)), torch.Generator().manual_seed(0)
    vectors, buffers = game.initial(generator)
    vectors = {name: vector.double() for name, vector in vectors.items()}
    whole = {name: tensor.double() for name, tensor in game.draw(generator).items()}
    u = {name: torch.randn(vector.shape, generator=generator, dtype=vector.dtype) for name, vector in vectors.items()}

    def computed(batch: dict[str, Tensor]) -> dict[str, Tensor]:
        point = game, vectors, buffers, batch
        evaluation, product = autodiff.vector_jacobian(*point, u)
        results = {"field": evaluation.field, "vector_jacobian": product, "losses": evaluation.losses}
        results["jacobian_vector"] = autodiff.jacobian_vector(*point, u)
        stacked = torch.cat([*u.values()])
        products = autodiff.transposed_jacobian(*point)
        results["transposed_jacobian"] = {"": products(stacked), "two": products(torch.stack([stacked, -stacked]))}
        results["jacobian"] = {"": autodiff.jacobian(*point)}
        results["linearization"] = autodiff.linearization(*point)[1](u, game.players)
        evaluation, *both = autodiff.field_products(*point)
        results["field_products"] = flatten({"v": evaluation.field, "0": both[0], "1": both[1]})
        for full, shortcuts in product_of((False, True), ((), ("layered_moments",))):
            of = game.with_settings(EvaluationSettings(shortcuts=shortcuts))
            evaluation, covariance = autodiff.gradient_covariance(of, "discriminator", *point[1:], full=full)
            results[f"covariance {full} {shortcuts}"] = {"": covariance, **evaluation.field, **evaluation.losses}
        return flatten(results)

    with together(ranks):
        joint = computed(rows(whole, ranks))
    alone = computed(whole)
    return {name: apart(joint[name], tensor) / float(tensor.abs().max()) for name, tensor in alone.items()}


def minibatch_features(scale: float) -> Game:
    """A discriminator that sees the spread of the batch, by a statistic of this process's rows."""

    class Spread(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.network = MLP(3, 1, 8, 1)

        def forward(self, x: Tensor) -> Tensor:
            spread = scale * x.std(0).mean().expand(len(x), 1)
            return self.network(torch.cat([x, spread], 1))

    return networks(Spread)


def networks(discriminator: Callable[[], nn.Module], generator: Callable[[], nn.Module] | None = None) -> Game:
    def losses(net: Any, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        fake = net.generator(batch["latent"])
        return {
            "generator": softplus(-net.discriminator(fake)).mean(),
            "discriminator": softplus(-net.discriminator(batch["real"])).mean()
            + softplus(net.discriminator(fake)).mean(),
        }

    def data(generator: torch.Generator) -> dict[str, Tensor]:
        return {"real": torch.randn(24, 2, generator=generator), "latent": torch.randn(24, 4, generator=generator)}

    return Networks({"generator": generator or partial(MLP, 4, 2, 8, 1), "discriminator": discriminator}, losses, data)


def with_batch_norm() -> nn.Module:
    return nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.Tanh(), nn.Linear(8, 2))


def accepted(ranks: Ranks) -> Numbers:
    games = {
        "plain": ring(batch=16),
        "BatchNorm": networks(partial(MLP, 2, 1, 8, 1), with_batch_norm),
        "packed": networks(partial(Packed, MLP(6, 1, 8, 1), 3)),
        "spread": minibatch_features(1.0),
        "odd batch": ring(batch=15),
    }
    answers = {}
    for name, game in games.items():
        try:
            check_mixing(game, ranks)
            answers[name] = ""
        except InvalidValue as error:
            answers[name] = str(error)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        check_mixing(minibatch_features(1.0), replace(ranks, inexact=True))
    answers[f"inexact{ranks.rank}"] = [str(warning.message) for warning in caught]
    return answers


def functions() -> dict[str, Callable[[Ranks], Numbers]]:
    return {f.__name__: f for f in (sums, statistics, cut, normalized, derivatives, accepted)}


def test_sums_are_differentiable_to_any_order(results: dict[str, Result]) -> None:
    assert max(results["sums"]["derivatives"]) <= 1e-14
    assert results["sums"]["mapped"] == 0


def test_statistics_equal_those_of_the_whole_batch(results: dict[str, Result]) -> None:
    result = results["statistics"]
    assert max(result[name] for name in ("mean", "deviation", "bucket", "every")) <= 1e-15
    assert result["integer"] == 3 and result["dtype"] == "torch.float32"
    assert result["messages"] == 4  # three tensors are one bucket


def test_each_rank_gets_its_rows_of_every_accumulated_part(results: dict[str, Result]) -> None:
    assert results["cut"]["rows0"] == [0, 1, 4, 5, 8, 9] and results["cut"]["rows1"] == [2, 3, 6, 7, 10, 11]
    assert results["cut"]["plain"] == 5 and results["cut"]["type"] == "torch.int64"


def test_every_derivative_equals_that_of_the_whole_batch(results: dict[str, Result]) -> None:
    assert len(results["derivatives"]) > 25
    assert max(results["derivatives"].values()) <= 1e-13, results["derivatives"]


def test_batch_norm_of_the_whole_batch_has_exact_derivatives(results: dict[str, Result]) -> None:
    result = results["normalized"]
    assert result["first"] <= 1e-14
    assert max(result["by x"]) <= 1e-12 and max(result["by weights"]) <= 1e-12
    assert result["traced"] <= 1e-12 and result["closed"] <= 1e-12


def test_games_that_ranks_cannot_share_are_refused_by_name(results: dict[str, Result]) -> None:
    answers = results["accepted"]
    assert [answers[name] for name in ("plain", "BatchNorm", "packed")] == ["", "", ""]
    assert "samples mix other than by BatchNorm" in answers["spread"] and answers["spread"].startswith("ranks: got 2")
    assert "--inexact allows" in answers["spread"]
    (warning,) = answers["inexact0"]
    assert "samples mix among each rank's rows only" in warning and not answers["inexact1"]
    assert answers["odd batch"].startswith("batch: got 15; allowed: a multiple of the number of ranks, 2")


@pytest.mark.parametrize(
    ("arguments", "field"), [((2, 2), "rank"), ((0, 0), "count"), ((0, 2, "all"), "batch_norm")], ids=str
)
def test_impossible_ranks_are_refused(arguments: tuple[Any, ...], field: str) -> None:
    with pytest.raises(InvalidValue) as caught:
        Ranks(*arguments)
    assert caught.value.field == field


def test_a_single_rank_is_an_ordinary_run() -> None:
    batch = {"x": torch.arange(3)}
    assert rows(batch, Ranks(0, 1)) is batch and rows(batch, None) is batch
    with together(Ranks(0, 1)), counting_messages() as messages:
        assert torch.equal(sum_over_ranks(batch["x"]), batch["x"])
    assert messages.calls == 0
