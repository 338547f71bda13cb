"""Merges equal operations of a graph, such as the forward passes that both players' losses need."""

from __future__ import annotations

import torch


def merge_repetitions(graph: torch.fx.GraphModule) -> torch.fx.GraphModule:
    """Return the graph, which changes nothing in place, with each operation once (common subexpressions)."""
    from torch._functorch.compile_utils import fx_graph_cse  # here, because it imports the compiler

    merged = torch.fx.GraphModule(graph, fx_graph_cse(graph.graph))
    merged.graph.eliminate_dead_code()
    merged.recompile()
    return merged
