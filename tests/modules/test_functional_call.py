"""A module called with other tensors: equal to torch's functional_call."""

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy

import pytest
import torch
from torch import Tensor, func, nn
from torch.nn.utils.parametrizations import weight_norm

from detente.modules import functional_call as module_file
from detente.modules.functional_call import functional_call


class Counting(nn.Module):
    """Reassigns one buffer, writes into another, and fails if asked to."""

    calls: Tensor
    total: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(2, 3), nn.BatchNorm1d(3), nn.Linear(3, 1))
        self.register_buffer("calls", torch.zeros(()))
        self.register_buffer("total", torch.zeros(()))
        self.register_buffer("nothing", None)

    def forward(self, x: Tensor) -> Tensor:
        self.calls = self.calls + 1
        self.total += x.sum()
        if len(x) == 1:
            raise ArithmeticError("one sample")
        return self.layers(x)


class Tied(nn.Module):
    """One weight under two names."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(2, 2, bias=False), nn.Linear(2, 2, bias=False)
        self.second.weight = self.first.weight

    def forward(self, x: Tensor) -> Tensor:
        return self.second(self.first(x).tanh())


class Twice(nn.Module):
    """One layer under two names."""

    def __init__(self) -> None:
        super().__init__()
        self.first = self.second = nn.Linear(2, 2)

    def forward(self, x: Tensor) -> Tensor:
        return self.second(self.first(x).tanh())


def tensors(module: nn.Module) -> dict[str, Tensor]:
    return {**dict(module.named_parameters()), **dict(module.named_buffers())}


def others(module: nn.Module) -> dict[str, Tensor]:
    """Return other tensors than a module's own, by name."""
    generator = torch.Generator().manual_seed(1)
    return {
        name: tensor + torch.rand(tensor.shape, generator=generator) if tensor.is_floating_point() else tensor.clone()
        for name, tensor in tensors(module).items()
    }


@pytest.mark.parametrize("build", [Counting, Tied, Twice, lambda: weight_norm(nn.Linear(2, 2))])
def test_it_equals_torchs_functional_call(build: Callable[[], nn.Module]) -> None:
    module, x = build(), torch.randn(4, 2, generator=torch.Generator().manual_seed(0))
    original = tensors(module)
    values = {name: tensor.clone() for name, tensor in original.items()}
    for _ in range(2):
        values_here, values_in_torch = others(module), others(module)
        output = functional_call(module, values_here, (x,))
        assert all(tensors(module)[name] is tensor for name, tensor in original.items()), "the module has its own back"
        # Of a layer under two names torch's own leaves the lent tensors there: a copy is called.
        torch.testing.assert_close(
            output, func.functional_call(deepcopy(module), values_in_torch, (x,)), rtol=0, atol=0
        )
        torch.testing.assert_close(values_here, values_in_torch, rtol=0, atol=0)
    torch.testing.assert_close(original, values, rtol=0, atol=0)


def test_tensors_of_the_module_are_restored_after_an_error() -> None:
    module = Counting()
    original = tensors(module)
    with pytest.raises(ArithmeticError):
        functional_call(module, others(module), (torch.ones(1, 2),))
    assert all(tensors(module)[name] is tensor for name, tensor in original.items())


def test_names_are_looked_up_once(monkeypatch: pytest.MonkeyPatch) -> None:
    looked: list[nn.Module] = []
    find = module_file._places
    monkeypatch.setattr(module_file, "_places", lambda module: looked.append(module) or find(module))
    module = nn.Linear(2, 2)
    for _ in range(3):
        functional_call(module, others(module), (torch.ones(1, 2),))
    assert looked == [module]
