"""Matrix products of compiled steps by oneDNN."""

from __future__ import annotations

import pytest
import torch
from torch.fx.experimental.proxy_tensor import make_fx

from detente import methods
from detente.data.gaussian_mixture import Ring
from detente.games.adversarial import Adversarial
from detente.networks.mlp import MLP
from detente.training import one_dnn
from detente.training.step import Steps, draw


def products(function, *example: torch.Tensor) -> list[str]:
    graph = make_fx(function)(*example)
    one_dnn.use_one_dnn(graph)
    graph.recompile()
    torch.testing.assert_close(graph(*example), function(*example), rtol=1e-5, atol=1e-4)
    return [node.target.name() for node in graph.graph.nodes if hasattr(node.target, "name")]


def test_large_products_are_replaced_and_small_or_exact_ones_are_not() -> None:
    large, small, bias = torch.randn(40, 33), torch.randn(33, 4), torch.randn(40)
    assert "detente::linear" in products(lambda x: x @ x.t(), large)
    assert "detente::linear" in products(lambda x, b: torch.addmm(b, x, x.t()), large, bias)
    assert "detente::linear" not in products(lambda x, y: x @ y, large, small)
    assert "detente::linear" not in products(lambda x: x @ x.t(), large.double())
    assert products(lambda x: torch.addmm(x @ x.t(), x, x.t(), beta=2.0), large).count("detente::linear") == 1


@pytest.mark.filterwarnings("ignore:.torch.jit.script_method. is deprecated:DeprecationWarning")  # inductor's own
def test_compiled_steps_with_one_dnn_equal_eager_ones(monkeypatch, tmp_path) -> None:  # noqa: ANN001
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path))
    monkeypatch.setattr(one_dnn, "pays", lambda: True)
    game = Adversarial(
        lambda: MLP(33, 2, width=40, depth=2), lambda: MLP(2, 1, width=40, depth=2), Ring(), 33, batch=48
    )
    method, generator = methods.consensus(learning_rate=1e-3), torch.Generator().manual_seed(0)
    state = method.initial(game, generator)
    step_draw = draw(game, method, state, generator)
    compiled = Steps(game, method, compiled=True)
    (after,), _ = compiled([state], [[step_draw]])
    assert compiled.compiled, compiled.fallback_reason
    (expected,), _ = Steps(game, method)([state], [[step_draw]])
    for name, vector in expected.vectors.items():
        torch.testing.assert_close(after.vectors[name], vector, rtol=1e-4, atol=1e-6)
