"""Several steps as one compiled graph.

Compiling traces the step below autograd (`make_fx`), so second-order methods compile too; repeated computations of
the two players are merged, several steps become one graph, and no guard is left to be checked at run time.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator
from typing import Any

import torch
import torch._inductor.config
from torch import Tensor
from torch._functorch.compile_utils import fx_graph_cse
from torch._inductor.runtime.cache_dir_utils import default_cache_dir
from torch.fx.experimental.proxy_tensor import make_fx

from detente.data.cache import cache
from detente.errors import InvalidValue
from detente.state import Tree
from detente.training.cuda_graph import Recording

Take = Callable[[Tree, list[Tree]], tuple[Tree, Tree]]


def leaves_of(tree: Tree) -> list[Tensor]:
    """Return the leaves of nested dictionaries, in the order of `flatten`; quick, since every step needs it."""
    leaves: list[Tensor] = []
    for value in tree.values():
        if isinstance(value, Tensor):
            leaves.append(value)
        else:
            leaves += leaves_of(value)
    return leaves


def _nest(leaves: Iterator[Tensor], like: Tree) -> Tree:
    """Return `leaves` nested as `like` is."""
    return {key: next(leaves) if isinstance(value, Tensor) else _nest(leaves, value) for key, value in like.items()}


def _keep_compiled_code() -> None:
    """Let compiled code be kept beside our other files, unless the user says where: the next run compiles faster.

    Importing inductor sets the variable to a folder under /tmp: that is not the user's word.
    """
    if os.environ.get("TORCHINDUCTOR_CACHE_DIR", default_cache_dir()) != default_cache_dir():
        return
    with contextlib.suppress(OSError, InvalidValue):  # no home directory, or one that cannot be written
        folder = cache() / "inductor"
        folder.mkdir(parents=True, exist_ok=True)
        os.environ["TORCHINDUCTOR_CACHE_DIR"] = str(folder)


def _on_a_gpu(tensors: list[Tensor]) -> bool:
    return all(tensor.device.type == "cuda" for tensor in tensors)


class Graph:
    """One compiled function from the leaves of its inputs to a state and what was told.

    On an NVIDIA GPU its kernels are recorded as a CUDA graph; where they cannot be, they are launched one by one, and
    `unrecorded` says why.
    """

    def __init__(self, function: Take, inputs: Tree) -> None:
        self.like: tuple[Tree, Tree] | None = None

        def traced(*leaves: Tensor) -> list[Tensor]:
            tree = _nest(iter(leaves), inputs)
            self.like = after, infos = function(tree["state"], list(tree["draws"].values()))
            return leaves_of(after) + leaves_of(infos)

        example = leaves_of(inputs)
        graph = make_fx(traced)(*example)
        merged = torch.fx.GraphModule(graph, fx_graph_cse(graph.graph))
        merged.graph.eliminate_dead_code()
        merged.recompile()
        for node in merged.graph.nodes:
            node.meta.clear()  # tensors of several fake modes, which the C++ wrapper would trip over
        _keep_compiled_code()
        from torch import _inductor  # takes seconds to import, so only where it is used

        # On a processor the calls between kernels are C++ too, in one file with them: fewer to compile, quicker to run.
        options = {"cpp_wrapper": True, "cpp.vec_isa_ok": True} if example[0].device.type == "cpu" else {}
        with torch._inductor.config.patch(options):
            self.compiled: Any = _inductor.compile(merged, [*example])
        self.recorded, self.unrecorded = False, ""
        if _on_a_gpu(example):
            try:
                self.compiled, self.recorded = Recording(self.compiled, example), True
            except Exception as error:  # CUDA's and inductor's own kinds
                self.unrecorded = str(error).strip().partition("\n")[0][:200] or type(error).__name__

    def __call__(self, leaves: list[Tensor]) -> tuple[Tree, Tree]:
        assert self.like is not None
        outputs = iter(self.compiled(*leaves))
        return _nest(outputs, self.like[0]), _nest(outputs, self.like[1])
