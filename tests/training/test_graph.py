"""Graphs of steps: tracing, compiling, and libraries that an earlier run compiled."""

from __future__ import annotations

import os
import subprocess
import sys
from functools import partial
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from torch._inductor import config as inductor_config

from detente import methods
from detente.games.adversarial import Adversarial
from detente.state import Tree
from detente.training import inductor
from detente.training.graph import Graph, trace
from detente.training.repetitions import merge_repetitions
from detente.training.step import Steps, draw

WEIGHT = torch.tensor([2.0, -1.0, 0.5])


def function(state: Tree, draws: list[Tree]) -> tuple[Tree, Tree]:
    """A step with a constant, a repeated operation and a change in place."""
    x, noise = state["x"], draws[0]["noise"]
    moved = x.exp() * WEIGHT
    moved.add_(noise).mul_(x.exp())
    return {"x": moved}, {"sum": (x.exp() * WEIGHT).sum()}


def inputs(seed: int = 0) -> Tree:
    generator = torch.Generator().manual_seed(seed)
    return {
        "state": {"x": torch.randn(3, generator=generator)},
        "draws": {"0": {"noise": torch.randn(3, generator=generator)}},
    }


def leaves(tree: Tree) -> list[Tensor]:
    return [tree["state"]["x"], tree["draws"]["0"]["noise"]]


def test_constants_become_inputs_and_repeated_operations_one() -> None:
    graph, fakes, constants = trace(lambda x: [x.exp() * WEIGHT, x.exp() + WEIGHT], [torch.zeros(3)])
    assert [node.op for node in graph.graph.nodes].count("get_attr") == 0
    assert len(fakes) == 2
    torch.testing.assert_close(constants, [WEIGHT])
    merged = merge_repetitions(graph)
    for result, count in (graph, 2), (merged, 1):
        assert [node.target for node in result.graph.nodes].count(torch.ops.aten.exp.default) == count
        x = torch.tensor([0.0, 1.0, 2.0])
        torch.testing.assert_close(result(x, *constants), [x.exp() * WEIGHT, x.exp() + WEIGHT])


def test_the_trace_leaves_its_example_alone() -> None:
    x = torch.zeros(3)
    graph, _, _ = trace(lambda x: [x.clone().add_(1)], [x])
    torch.testing.assert_close(graph(x)[0], torch.ones(3))
    torch.testing.assert_close(x, torch.zeros(3))


def test_equal_operations_before_and_after_a_change_in_place_stay_two() -> None:
    def function(x: Tensor) -> list[Tensor]:
        changed = x.exp()
        changed.add_(1)
        changed[:2].mul_(WEIGHT[0])
        return [changed, x.exp(), changed + changed.view(3, 1).sum(), changed + changed.view(3, 1).sum()]

    graph, _, constants = trace(function, [torch.zeros(3)])
    x = torch.tensor([0.0, 1.0, 2.0])
    torch.testing.assert_close(graph(x, *constants), function(x))
    assert not any(getattr(node.target, "__name__", "").split(".")[0].endswith("_") for node in graph.graph.nodes)


class Recurrent(nn.Module):
    """Reads two numbers one after the other."""

    def __init__(self) -> None:
        super().__init__()
        self.lstm, self.score = nn.LSTM(1, 4, batch_first=True), nn.Linear(4, 1)

    def forward(self, samples: Tensor) -> Tensor:
        return self.score(self.lstm(samples.unsqueeze(-1))[0][:, -1])


def test_an_lstm_becomes_operations_that_inductor_lowers(monkeypatch: pytest.MonkeyPatch) -> None:
    names: list[str] = []

    def record(graph: torch.fx.GraphModule, inputs: object) -> torch.fx.GraphModule:
        names.extend(str(node.target) for node in graph.graph.nodes)
        return graph

    monkeypatch.setattr(inductor, "compile_graph", record)
    game = Adversarial(lambda: nn.Linear(2, 2), Recurrent, torch.randn(16, 2), latent=2, batch=8)
    method, generator = methods.consensus(optimizer="sgd"), torch.Generator().manual_seed(0)
    state = method.initial(game, generator)
    draws = [[draw(game, method, state, generator)]]
    steps = Steps(game, method, compiled=True)
    (after,), _ = steps([state], draws)
    (expected,), _ = Steps(game, method)([state], draws)
    assert not steps.fallback_reason
    assert names
    assert not [name for name in names if "mkldnn" in name]
    torch.testing.assert_close(after.vectors, expected.vectors)


def test_a_value_that_is_read_is_refused() -> None:
    with pytest.raises(RuntimeError, match="depends on the value of a tensor, in aten._local_scalar_dense"):
        trace(lambda x: [x * float(x.sum())], [torch.zeros(3)])


@pytest.mark.slow
def test_a_compiled_graph_is_the_function_and_a_second_one_is_only_loaded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path))
    first = Graph(function, inputs())
    for seed in (0, 1):
        tree = inputs(seed)
        expected = function({"x": tree["state"]["x"].clone()}, [tree["draws"]["0"]])
        torch.testing.assert_close(first(leaves(tree)), expected)
    strided = torch.randn(3, 2)[:, 0]
    torch.testing.assert_close(first([strided, torch.zeros(3)])[0], {"x": strided.exp() * WEIGHT * strided.exp()})

    monkeypatch.setattr(inductor, "_compile", None)  # the second one would fail if it compiled
    second = Graph(function, inputs())
    torch.testing.assert_close(second(leaves(inputs(2))), first(leaves(inputs(2))), rtol=0, atol=0)


def test_graphs_that_differ_have_different_libraries(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path))

    def record(factor: float, size: int) -> Path | None:
        graph, fakes, _ = trace(lambda x: [x * factor], [torch.zeros(size)])
        return inductor._record_of(graph, fakes)

    assert record(0.1, 3) == record(0.1, 3)
    assert len({record(0.1, 3), record(0.1 + 1e-16, 3), record(0.1, 4)}) == 3


def test_a_changed_setting_of_inductor_needs_another_library(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path))
    graph, fakes, _ = trace(lambda x: [x.exp()], [torch.zeros(3)])
    usual = inductor._record_of(graph, fakes)
    with inductor_config.patch(max_fusion_size=3):
        changed = inductor._record_of(graph, fakes)
    monkeypatch.setenv("TORCHINDUCTOR_MAX_AUTOTUNE", "1")
    assert len({usual, changed, inductor._record_of(graph, fakes)}) == 3


@pytest.mark.slow
def test_a_kept_library_is_loaded_without_importing_the_compiler(tmp_path: Path) -> None:
    program = """
import sys, torch
from detente.training.graph import Graph

inputs = {"state": {"x": torch.ones(3)}, "draws": {}}
graph = Graph(lambda state, draws: ({"x": state["x"].exp()}, {}), inputs)
print("torch._inductor.lowering" in sys.modules, graph([torch.zeros(3)])[0]["x"].tolist())
"""
    environment = {**os.environ, "TORCHINDUCTOR_CACHE_DIR": str(tmp_path / "cache")}
    run = partial(subprocess.run, [sys.executable, "-c", program], env=environment, capture_output=True, text=True)
    assert [run(check=True).stdout.split(" ", 1)[0] for _ in range(2)] == ["True", "False"]


def test_a_library_that_is_gone_is_built_again(tmp_path: Path) -> None:
    record = tmp_path / "record"
    assert inductor._library_of(record) is None
    record.write_text(str(tmp_path / "missing.so"))
    assert inductor._library_of(record) is None
