"""Counts the gradients that a computation requests from torch."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import torch


def counted_gradients(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Return a list that gets, for each later backward pass, of how many tensors it returns the gradients."""
    counted: list[int] = []
    run = torch.autograd.Variable._execution_engine.run_backward

    def counting(outputs: Any, seeds: Any, retain: bool, differentiable: bool, inputs: Any, *rest: Any, **named: Any):
        counted.append(len(inputs))
        return run(outputs, seeds, retain, differentiable, inputs, *rest, **named)

    monkeypatch.setattr(torch.autograd.Variable, "_execution_engine", SimpleNamespace(run_backward=counting))
    return counted
