"""Numbers of compiled steps that are computed once and stored, not again for every element that uses them.

Inductor inlines what has few elements into the loop over many: Adam's 1 - βᵗ would be a power for every parameter.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import torch
from torch import Tensor
from torch.fx import Node

aten = torch.ops.aten
SLOW = (aten.pow, aten.exp, aten.log, aten.sqrt)
FEW, MANY = 64, 16  # elements of what is stored; times as many elements that use it


@cache
def stored() -> Any:
    """Return an operator that returns its input, and lets inductor store it in memory, one row after the other."""
    from torch._inductor import ir, lowering

    library = torch.library.Library("detente", "FRAGMENT")
    library.define("stored(Tensor x) -> Tensor")

    def copy(x: Tensor) -> Tensor:
        return x.clone(memory_format=torch.contiguous_format)

    library.impl("stored", copy, "CompositeExplicitAutograd")
    torch.library.register_fake("detente::stored", copy, lib=library)
    operator: Any = torch.ops.detente.stored.default
    lowering.register_lowering(operator, type_promotion_kind=None)(ir.ExternKernel.require_contiguous)
    operator.library = library  # the operator exists as long as its library
    return operator


def store_slow_numbers(graph: torch.fx.GraphModule) -> None:
    """Store results of slow operations on few elements where many elements use them.

    Call `graph.recompile()` afterwards.
    """
    slow: set[Node] = set()
    for node in list(graph.graph.nodes):
        size = _size(node)
        operation = getattr(node.target, "overloadpacket", None)
        if not 0 < size <= FEW or not (operation in SLOW or slow.intersection(node.all_input_nodes)):
            continue
        if all(_size(user) < MANY * size for user in node.users):
            slow.add(node)
            continue
        with graph.graph.inserting_after(node):
            result = graph.graph.call_function(stored(), (node,))
        result.meta["val"] = node.meta["val"]
        node.replace_all_uses_with(result, delete_user_cb=lambda user, result=result: user is not result)


def _size(node: Node) -> int:
    value = node.meta.get("val")
    return value.numel() if node.op == "call_function" and isinstance(value, Tensor) else 0
