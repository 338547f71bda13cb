"""Compiled steps on an NVIDIA GPU as CUDA graphs: what can be tested without one."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import pytest
import torch
from torch import Tensor

from detente import methods
from detente.games.dirac_gan import DiracGAN
from detente.training import cuda_graph, graph
from detente.training.execution import Execution
from detente.training.step import Steps, draw


@pytest.fixture(autouse=True)
def as_on_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    """Use the traced graph as the compiled one, and the CPU as a GPU."""
    monkeypatch.setattr("torch._inductor.compile", lambda traced, example: traced)
    monkeypatch.setattr(graph, "_device", lambda tensors: "cuda")


def two_steps(compiled: bool) -> tuple[Steps, dict[str, Tensor]]:
    game, method, generator = DiracGAN(), methods.consensus(), torch.Generator().manual_seed(0)
    state = method.initial(game, generator)
    drawn = [draw(game, method, state, generator) for _ in range(2)]
    steps = Steps(game, method, compiled=compiled)
    (state,), _ = steps([state], [drawn])
    return steps, state.flat()


class Replay:
    """A recording without CUDA."""

    def __init__(self, function: Callable[..., Sequence[Tensor]], example: Sequence[Tensor]) -> None:
        self.function, self.replays = function, 0
        recordings.append(self)

    def __call__(self, *inputs: Tensor) -> Sequence[Tensor]:
        self.replays += 1
        return self.function(*inputs)


recordings: list[Replay] = []


def test_compiled_steps_are_replayed(monkeypatch: pytest.MonkeyPatch) -> None:
    recordings.clear()
    monkeypatch.setattr(graph, "Recording", Replay)
    steps, actual = two_steps(compiled=True)
    assert [recording.replays for recording in recordings] == [2]
    assert "compiled, 1 step per graph, as a CUDA graph" in Execution(steps, 1, 1, True).description
    torch.testing.assert_close(actual, two_steps(compiled=False)[1], rtol=1e-12, atol=1e-12)


def test_steps_that_cannot_be_recorded_fall_back_and_give_the_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    def refusing(function: object, example: object) -> None:
        raise RuntimeError("operation not permitted when stream is capturing\nmore")

    monkeypatch.setattr(graph, "Recording", refusing)
    steps, actual = two_steps(compiled=True)
    words = Execution(steps, 1, 1, True).description
    assert "no CUDA graph: operation not permitted when stream is capturing," in words and "\n" not in words
    assert steps.compiled and not steps.fallback_reason
    torch.testing.assert_close(actual, two_steps(compiled=False)[1], rtol=1e-12, atol=1e-12)


def test_copies_are_grouped_by_dtype_and_keep_the_order() -> None:
    sources = [torch.tensor([1.5]), torch.tensor(2), torch.tensor([3.5, 4.5]), torch.tensor([True])]
    targets = [torch.zeros_like(tensor) for tensor in sources]
    groups = cuda_graph._by_dtype(sources)
    assert groups == [[0, 2], [1], [3]]
    cuda_graph._copy(sources, targets, groups)
    torch.testing.assert_close(targets, sources)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")
def test_a_recording_equals_its_function() -> None:
    def function(x: Tensor, n: Tensor) -> list[Tensor]:
        return [x * 2 + n, n + 1, x]

    device = torch.device("cuda")
    recording = cuda_graph.Recording(function, [torch.ones(3, device=device), torch.tensor(1, device=device)])
    x, n = torch.arange(3.0, device=device), torch.tensor(5, device=device)
    first = recording(x, n)
    second = recording(x + 1, n)
    torch.testing.assert_close(first, function(x, n))
    torch.testing.assert_close(second, function(x + 1, n))
