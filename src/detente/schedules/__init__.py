"""Schedules: numbers that depend on the training step. A docstring says which settings may be a schedule.

All members are attributes of this package: `schedules.Cosine(1e-4, 0, 10_000)`. `parse` reads them from text.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from detente.registry import members
from detente.schedules.base import Schedule as Schedule
from detente.schedules.base import value as value
from detente.schedules.text import parse as parse
from detente.schedules.torch_scheduler import Torch

if TYPE_CHECKING:

    def __getattr__(name: str) -> Any: ...


globals().update({member.__name__: member for member in members("schedules").values()})
torch = Torch  # schedules.torch(torch.optim.lr_scheduler.OneCycleLR, lr=1e-4, steps=1000, …)
