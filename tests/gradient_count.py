"""Counts the gradients that a computation requests from torch."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from detente.autodiff import engines


def counted_gradients(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Return a list that gets, for each later backward pass, of how many tensors it returns the gradients."""
    counted: list[int] = []
    for owner, name in ((torch.autograd, "grad"), (engines, "gradients")):
        original = getattr(owner, name)

        def counting(outputs: Any, inputs: Any, *rest: Any, original: Any = original, **named: Any) -> Any:
            counted.append(1 if isinstance(inputs, Tensor) else len(inputs))
            return original(outputs, inputs, *rest, **named)

        monkeypatch.setattr(owner, name, counting)
    return counted
