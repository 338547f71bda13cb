"""Matrix products of compiled steps by oneDNN, on processors where MKL is slow.

MKL, which PyTorch uses to multiply matrices, uses AVX-512 on Intel processors only. On others that have it, oneDNN,
which PyTorch also contains, multiplies matrices of 256 × 128 and 128 × 128 numbers in 0.6 of the time.
Results are equal up to rounding.
"""

from __future__ import annotations

import platform
from functools import cache
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

SMALLEST = 32  # of all three sizes of a product; below it, a call of oneDNN costs more than it saves


@cache
def pays() -> bool:
    """Return whether oneDNN multiplies float32 matrices faster than MKL on this machine."""
    return (
        torch.backends.mkl.is_available()
        and torch.backends.mkldnn.is_available()
        and torch.backends.cpu.get_cpu_capability() == "AVX512"
        and "GenuineIntel" not in processor()
    )


@cache
def processor() -> str:
    """Return the vendor, the model and the instructions of this machine's processor."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").partition("\n\n")[0].splitlines()
    except OSError:
        return platform.processor()  # on Windows it contains the vendor
    return "\n".join(line for line in lines if line.startswith(("vendor_id", "model name", "flags", "Features")))


@cache
def _linear() -> Any:
    """Return an operator x wᵀ + b that inductor compiles to a direct call of oneDNN.

    Inductor's own operator for it takes only constant weights.
    """
    from torch._inductor import ir, lowering, mkldnn_ir

    library = torch.library.Library("detente", "FRAGMENT")
    library.define("linear(Tensor x, Tensor weight, Tensor? bias) -> Tensor")

    def linear(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        return torch.ops.mkldnn._linear_pointwise(x, weight, bias, "none", [], "")  # noqa: SLF001

    def shape(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        return x.new_empty(x.shape[0], weight.shape[0])

    def lowered(x: Any, weight: Any, bias: Any) -> Any:
        return ir.TensorBox.create(mkldnn_ir.LinearUnary.create(x, weight, bias, "none", [], ""))

    library.impl("linear", linear, "CompositeExplicitAutograd")
    torch.library.register_fake("detente::linear", shape, lib=library)
    operator = torch.ops.detente.linear.default
    lowering.register_lowering(operator, type_promotion_kind=None)(lowered)
    return operator, library  # the operator exists as long as its library


def use_one_dnn(graph: torch.fx.GraphModule) -> None:
    """Replace the matrix products of a traced graph by oneDNN's, where they are large enough to be faster.

    Call `graph.recompile()` afterwards.
    """
    aten = torch.ops.aten
    for node in list(graph.graph.nodes):
        if node.op != "call_function" or node.target not in (aten.mm.default, aten.addmm.default) or node.kwargs:
            continue
        *bias, x, weight = node.args
        (rows, inner), columns = _example(x).shape, _example(weight).shape[1]
        large = min(rows, inner, columns) >= SMALLEST
        if not large or _example(node).dtype != torch.float32 or (bias and _example(bias[0]).dim() != 1):
            continue
        operator, _ = _linear()
        with graph.graph.inserting_before(node):
            transposed = graph.graph.call_function(aten.permute.default, (weight, [1, 0]))
            product = graph.graph.call_function(operator, (x, transposed, bias[0] if bias else None))
        node.replace_all_uses_with(product)
        graph.graph.erase_node(node)


def _example(node: torch.fx.Node) -> Tensor:
    """Return a tensor of the shape and type that a node of a graph traced by `make_fx` has."""
    return node.meta["val"]
