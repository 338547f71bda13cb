"""Several steps as one compiled graph.

`make_fx` traces the step below autograd, so second-order methods compile too. Common subexpressions of the two players
are merged, several steps form one graph, and there are no guards to check at run time.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor

from detente.state import Tree
from detente.training import one_dnn
from detente.training.cuda_graph import Recording
from detente.training.inductor import Compiler

StepFunction = Callable[[Tree, list[Tree]], tuple[Tree, Tree]]


def leaves_of(tree: Tree) -> list[Tensor]:
    """Return the leaves of nested dictionaries in the order of `flatten`; fast, because every step calls it."""
    leaves: list[Tensor] = []
    for value in tree.values():
        if isinstance(value, Tensor):
            leaves.append(value)
        else:
            leaves += leaves_of(value)
    return leaves


def _nest(leaves: Iterator[Tensor], like: Tree) -> Tree:
    """Return `leaves` in the structure of `like`."""
    return {key: next(leaves) if isinstance(value, Tensor) else _nest(leaves, value) for key, value in like.items()}


def _on_gpu(tensors: list[Tensor]) -> bool:
    return all(tensor.device.type == "cuda" for tensor in tensors)


class Graph:
    """A compiled function that maps the leaves of its inputs to a state and the infos of the steps.

    On an NVIDIA GPU its kernels are recorded as a CUDA graph. If that is impossible, they are launched one by one, and
    `cuda_graph_error` gives the reason.
    """

    def __init__(self, function: StepFunction, inputs: Tree) -> None:
        from torch._functorch.compile_utils import fx_graph_cse  # here, because importing the compiler takes seconds
        from torch.fx.experimental.proxy_tensor import make_fx

        self.like: tuple[Tree, Tree] | None = None

        def traced(*leaves: Tensor) -> list[Tensor]:
            tree = _nest(iter(leaves), inputs)
            self.like = after, infos = function(tree["state"], list(tree["draws"].values()))
            return leaves_of(after) + leaves_of(infos)

        example = leaves_of(inputs)
        compiler = Compiler(example)
        graph = make_fx(traced)(*example)
        merged = torch.fx.GraphModule(graph, fx_graph_cse(graph.graph))
        merged.graph.eliminate_dead_code()
        if example[0].device.type == "cpu" and one_dnn.pays():
            one_dnn.use_one_dnn(merged)
        merged.recompile()
        for node in merged.graph.nodes:
            node.meta.clear()  # tensors of several fake modes, on which the C++ wrapper fails
        self.compiled: Any = compiler(merged)
        self.recorded, self.cuda_graph_error = False, ""
        if _on_gpu(example):
            try:
                self.compiled, self.recorded = Recording(self.compiled, example), True
            except Exception as error:  # CUDA and inductor raise various types
                self.cuda_graph_error = str(error).strip().partition("\n")[0][:200] or type(error).__name__

    def __call__(self, leaves: list[Tensor]) -> tuple[Tree, Tree]:
        assert self.like is not None
        outputs = iter(self.compiled(*leaves))
        return _nest(outputs, self.like[0]), _nest(outputs, self.like[1])
