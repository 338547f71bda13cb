"""Several steps as one compiled graph.

`make_fx` traces the step below autograd, so second-order methods compile too. Common subexpressions of the two players
are merged, several steps form one graph, and there are no guards to check at run time.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
from torch import Tensor
from torch._subclasses import FakeTensorMode

from detente.state import Tree
from detente.training.cuda_graph import Recording
from detente.training.inductor import Compiler
from detente.training.repetitions import merge_repetitions

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


def _device(tensors: list[Tensor]) -> str:
    return tensors[0].device.type


class Graph:
    """A compiled function that maps the leaves of its inputs to a state and the infos of the steps.

    On an NVIDIA GPU its kernels are recorded as a CUDA graph. If that is impossible, they are launched one by one, and
    `cuda_graph_error` gives the reason.
    """

    def __init__(self, function: StepFunction, inputs: Tree) -> None:
        self.like: tuple[Tree, Tree] | None = None

        def traced(*leaves: Tensor) -> list[Tensor]:
            tree = _nest(iter(leaves), inputs)
            self.like = after, infos = function(tree["state"], list(tree["draws"].values()))
            return leaves_of(after) + leaves_of(infos)

        example = [tensor.contiguous() for tensor in leaves_of(inputs)]
        device = _device(example)
        compiler = Compiler() if device == "cpu" else None
        graph, fakes, self._constants = trace(traced, example)
        self.recorded, self.cuda_graph_error = False, ""
        self.compiled: Callable[..., Sequence[Tensor]]
        if compiler is not None:
            self.compiled = compiler(graph, fakes)
            return
        from torch import _inductor

        graph = merge_repetitions(graph)
        for node in graph.graph.nodes:
            node.meta.clear()  # inductor traces the graph again
        example += self._constants
        compile_: Any = _inductor.compile
        self.compiled = compile_(graph, example)
        if device == "cuda":
            try:
                self.compiled, self.recorded = Recording(self.compiled, example), True
            except Exception as error:  # CUDA and inductor raise various types
                self.cuda_graph_error = str(error).strip().partition("\n")[0][:200] or type(error).__name__

    def __call__(self, leaves: list[Tensor]) -> tuple[Tree, Tree]:
        assert self.like is not None
        outputs = iter(self.compiled(*[tensor.contiguous() for tensor in leaves], *self._constants))
        return _nest(outputs, self.like[0]), _nest(outputs, self.like[1])


def trace(
    function: Callable[..., list[Tensor]], example: Sequence[Tensor]
) -> tuple[torch.fx.GraphModule, list[Tensor], list[Tensor]]:
    """Return the graph of a function, its inputs as fake tensors, and its constants.

    The graph changes nothing in place.
    Constants, such as the parameters of frozen networks, are further inputs of the graph.

    Raises:
        RuntimeError: the function reads the value of a tensor, so no graph holds for all inputs.
    """
    from torch._subclasses.fake_tensor import DataDependentOutputException, DynamicOutputShapeException
    from torch.fx.experimental.proxy_tensor import make_fx

    mode = FakeTensorMode(allow_non_fake_inputs=True)
    fakes = [mode.from_tensor(tensor) for tensor in example]
    try:
        with _without_one_dnn():
            graph = make_fx(function)(*fakes)
    except (DataDependentOutputException, DynamicOutputShapeException) as error:
        raise RuntimeError(f"the step depends on the value of a tensor, in {error}") from error
    constants, lifted = [], {}
    first = next(node for node in graph.graph.nodes if node.op != "placeholder")
    for node in [node for node in graph.graph.nodes if node.op == "get_attr"]:
        if node.target not in lifted:
            constants.append(getattr(graph, node.target).detach().contiguous())
            with graph.graph.inserting_before(first):
                lifted[node.target] = graph.graph.placeholder(node.target)
            lifted[node.target].meta["val"] = mode.from_tensor(constants[-1])
        node.replace_all_uses_with(lifted[node.target])
        graph.graph.erase_node(node)
    graph.recompile()
    inputs = [node.meta["val"] for node in graph.graph.nodes if node.op == "placeholder"]
    if _mutates(graph):  # first, because equal operations may be different ones after a change in place
        graph = make_fx(torch.func.functionalize(graph, remove="mutations"))(*inputs)
    graph.graph.eliminate_dead_code()
    graph.recompile()
    return graph, inputs, constants


@contextlib.contextmanager
def _without_one_dnn() -> Iterator[None]:
    """Trace no operation of oneDNN: inductor does not know the derivative of its LSTM."""
    backend: Any = torch.backends.mkldnn
    enabled, backend.enabled = backend.enabled, False
    try:
        yield
    finally:
        backend.enabled = enabled


def _mutates(graph: torch.fx.GraphModule) -> bool:
    functions = (node.target for node in graph.graph.nodes if node.op == "call_function")
    return any(isinstance(f, torch._ops.OpOverload) and f._schema.is_mutable for f in functions)  # noqa: SLF001
