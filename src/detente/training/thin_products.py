"""Thin matrix products in compiled steps, as sums that inductor fuses with the surrounding operations.

A call of a matrix library costs several microseconds, which is more than the product itself if one of its three sizes
is tiny: points in the plane, one score per sample, and their gradients.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from torch.fx import Node

from detente.training.stored import stored

THIN = 4  # largest size that counts as tiny
LARGEST = 131_072  # number of multiplications; in larger products, a library's order of reading memory counts
aten = torch.ops.aten
PRODUCTS = (aten.mm.default, aten.addmm.default, aten.bmm.default, aten.baddbmm.default)


def expand_thin_products(graph: torch.fx.GraphModule) -> None:
    """Replace products with at most `LARGEST` multiplications and one size of at most `THIN`.

    Call `graph.recompile()` afterwards.
    """
    for node in list(graph.graph.nodes):
        if node.op != "call_function" or node.target not in PRODUCTS or node.kwargs:
            continue
        *bias, left, right = node.args
        sizes = *_shape(left)[-2:], _shape(right)[-1]
        if node.meta["val"].dtype != torch.float32 or min(sizes) > THIN or math.prod(sizes) > LARGEST:
            continue
        with graph.graph.inserting_before(node):
            product = _product(_call(graph), left, right)
            if bias:
                product = _call(graph)(aten.add.Tensor, product, bias[0])
        node.replace_all_uses_with(product)
        graph.graph.erase_node(node)


def _shape(node: Node) -> torch.Size:
    return node.meta["val"].shape


def _call(graph: torch.fx.GraphModule) -> Callable[..., Node]:
    """Return a function that adds an operation to a graph."""

    def call(operator: Any, *arguments: Any, **options: Any) -> Node:
        node = graph.graph.call_function(operator, arguments, options)
        values = [argument.meta["val"] if isinstance(argument, Node) else argument for argument in arguments]
        node.meta["val"] = operator(*values, **options)
        return node

    return call


def _product(call: Callable[..., Node], left: Node, right: Node) -> Node:
    """Return Σ_k left[i, k] right[k, j], contiguous like a library's, reading memory without gaps."""
    if _shape(left)[-1] <= THIN:
        if right.meta["val"].stride(-1) != 1:
            right = call(stored(), right)
        columns = [call(aten.slice.Tensor, left, -1, k, k + 1) for k in range(_shape(left)[-1])]
        rows = [call(aten.slice.Tensor, right, -2, k, k + 1) for k in range(_shape(left)[-1])]
        total, *terms = [call(aten.mul.Tensor, column, row) for column, row in zip(columns, rows, strict=True)]
        for term in terms:
            total = call(aten.add.Tensor, total, term)
        return total
    if _shape(left)[-2] <= THIN:
        return _sum_over(call, call(aten.unsqueeze.default, left, -1), call(aten.unsqueeze.default, right, -3), -2)
    if left.meta["val"].stride(-2) == 1:  # its columns are adjacent in memory
        product = _transposed(call, _product(call, _transposed(call, right), _transposed(call, left)))
        return call(aten.clone.default, product, memory_format=torch.contiguous_format)
    rows = call(aten.unsqueeze.default, _transposed(call, right), -3)
    return _sum_over(call, call(aten.unsqueeze.default, left, -2), rows, -1)


def _transposed(call: Callable[..., Node], matrix: Node) -> Node:
    *others, rows, columns = range(len(_shape(matrix)))
    return call(aten.permute.default, matrix, [*others, columns, rows])


def _sum_over(call: Callable[..., Node], left: Node, right: Node, dim: int) -> Node:
    return call(aten.sum.dim_IntList, call(aten.mul.Tensor, left, right), [dim])
