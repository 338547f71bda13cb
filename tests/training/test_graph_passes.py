"""Changes to a traced graph before inductor compiles it: the results stay the same."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor

from detente.training.graph import trace
from detente.training.inductor import Compiler
from detente.training.stored import store_slow_numbers, stored
from detente.training.thin_products import PRODUCTS, expand_thin_products

SIZES = [(32, 2, 16), (32, 16, 1), (32, 16, 3), (3, 32, 16), (16, 1, 1), (1, 1, 1), (4, 4, 4)]


def targets(graph: torch.fx.GraphModule) -> list[object]:
    return [node.target for node in graph.graph.nodes]


def traced(function: Callable[..., list[Tensor]], *inputs: Tensor) -> torch.fx.GraphModule:
    graph, _, constants = trace(function, inputs)
    assert not constants
    return graph


def matrix(*sizes: int, transposed: bool) -> Tensor:
    generator = torch.Generator().manual_seed(len(sizes))
    sizes = (*sizes[:-2], sizes[-1], sizes[-2]) if transposed else sizes
    values = torch.randn(sizes, generator=generator)
    return values.mT if transposed else values


@pytest.mark.parametrize("right_transposed", [False, True])
@pytest.mark.parametrize("left_transposed", [False, True])
@pytest.mark.parametrize("sizes", SIZES, ids=str)
def test_thin_products_become_sums(sizes: tuple[int, int, int], left_transposed: bool, right_transposed: bool) -> None:
    rows, inner, columns = sizes
    left = matrix(5, rows, inner, transposed=left_transposed)
    right, bias = matrix(5, inner, columns, transposed=right_transposed), torch.arange(columns) / 3

    def products(left: Tensor, right: Tensor, bias: Tensor) -> list[Tensor]:
        return [
            torch.mm(left[0], right[0]),
            torch.addmm(bias, left[1], right[1]),
            torch.bmm(left, right),
            torch.baddbmm(bias, left, right),
        ]

    graph = traced(products, left, right, bias)
    assert set(PRODUCTS) <= set(targets(graph))
    expand_thin_products(graph)
    graph.recompile()
    assert not set(PRODUCTS) & set(targets(graph))
    actual, expected = graph(left, right, bias), products(left, right, bias)
    torch.testing.assert_close(actual, expected)
    assert all(product.is_contiguous() for product in actual)  # views may follow in the graph


@pytest.mark.parametrize("sizes", [(32, 16, 5), (512, 128, 4)], ids=str)
def test_other_products_stay(sizes: tuple[int, int, int]) -> None:
    rows, inner, columns = sizes
    graph = traced(lambda left, right: [left @ right], torch.ones(rows, inner), torch.ones(inner, columns))
    expand_thin_products(graph)
    assert torch.ops.aten.mm.default in targets(graph)


def corrected(t: Tensor, mean: Tensor) -> list[Tensor]:
    """Adam's correction: one power for all parameters."""
    scale = 1 / (1 - torch.pow(0.9, t.double()))
    return [mean * scale.float(), scale, t.exp() + 1]


def test_slow_numbers_are_stored_where_many_elements_use_them() -> None:
    t, mean = torch.tensor(3.0), torch.randn(100)
    graph = traced(corrected, t, mean)
    store_slow_numbers(graph)
    graph.recompile()
    assert targets(graph).count(stored()) == 1
    torch.testing.assert_close(graph(t, mean), corrected(t, mean))


@pytest.mark.slow
def test_compiled_they_are_the_same_function(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path))
    inputs = matrix(64, 2, transposed=False), matrix(32, 2, transposed=False), torch.tensor(3.0)

    def function(points: Tensor, weight: Tensor, t: Tensor) -> list[Tensor]:
        hidden = torch.relu(points @ weight.mT)
        return [hidden, hidden.mT @ points, *corrected(t, hidden)]

    graph, fakes, _ = trace(function, inputs)
    torch.testing.assert_close(Compiler()(graph, fakes)(*inputs), function(*inputs))
