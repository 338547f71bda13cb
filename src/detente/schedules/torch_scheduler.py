"""Any scheduler of `torch.optim.lr_scheduler` that is a function of the step."""

from __future__ import annotations

import inspect
import pkgutil
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from torch import Tensor
from torch.optim import lr_scheduler

from detente.errors import InvalidValue, require, unknown
from detente.schedules.base import Schedule, require_finite, require_steps
from detente.schedules.text import from_text

Kind = Callable[..., Any]


@dataclass(frozen=True, init=False)
class Torch(Schedule):
    """A scheduler of `torch.optim.lr_scheduler`: the rate after t calls of `scheduler.step()`, from a table.

    The table is computed once, with an optimizer that has no gradients; later steps have its last value. A scheduler
    that needs other schedulers can be built by a function of the optimizer:
    `Torch(lambda optimizer: SequentialLR(optimizer, […], milestones=[500]), lr=1e-4, steps=10_000)`.

    Args:
        kind: the scheduler's class, its name in `torch.optim.lr_scheduler` ("OneCycleLR"), an import path, or a
            function of the optimizer that returns a scheduler.
        lr: the optimizer's learning rate, > 0, from which the scheduler starts.
        steps: number of calls of `scheduler.step()` in the table, at least 1.
        every: training steps per call of `scheduler.step()`, at least 1; the steps of an epoch for
            schedulers that count epochs.
        key: the setting to follow: "lr", or "momentum" for schedulers that change it too.
        settings: all other keywords are passed to the scheduler, such as `max_lr=1e-3, total_steps=10_000`.

    Raises:
        InvalidValue: the scheduler does not accept its settings, or needs a metric (ReduceLROnPlateau).

    Source: `torch.optim.lr_scheduler`.
    """

    precise = True

    kind: str | Kind
    lr: float
    steps: int
    every: int
    key: str
    settings: dict[str, Any]

    def __init__(
        self,
        kind: Kind | str = "ConstantLR",
        lr: float = 1e-4,
        steps: int = 1,
        every: int = 1,
        key: str = "lr",
        **settings: Any,
    ) -> None:
        arguments = {"kind": _resolved(kind), "lr": lr, "steps": steps, "every": every, "key": key}
        arguments["settings"] = from_text(settings)
        for name, setting in arguments.items():
            object.__setattr__(self, name, setting)
        require_finite(self, "lr")
        require(lr > 0, "lr", lr, "a number > 0")
        require_steps(steps)
        require_steps(every, "every")
        require(key in ("lr", "momentum"), "key", key, "'lr' or 'momentum'")
        _ = self._table

    @cached_property
    def _table(self) -> Tensor:
        """Return the values after 0, 1, …, steps calls of `scheduler.step()`, float64 (steps + 1,)."""
        optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], self.lr, momentum=0.9)
        name = getattr(self.kind, "__name__", repr(self.kind))
        try:
            scheduler = self.kind(optimizer, **self.settings)  # pyright: ignore[reportCallIssue]
            optimizer.step()
            values = [optimizer.param_groups[0][self.key]]
            for _ in range(self.steps):
                scheduler.step()
                values.append(optimizer.param_groups[0][self.key])
        except Exception as error:  # a user's own scheduler may raise anything
            hint = " ".join(str(error).split())[:300]
            raise InvalidValue("kind", name, "a scheduler of the step alone, and settings it accepts", hint) from error
        return torch.tensor([float(entry) for entry in values], dtype=torch.float64)

    def __call__(self, t: Tensor) -> Tensor:
        """Return the value after ⌊t/every⌋ calls of `scheduler.step()`."""
        calls = torch.div(t, self.every, rounding_mode="floor").long().clamp(max=self.steps)
        table = self._table.to(t.device)
        table = table if t.dtype == torch.float64 else table.float()
        return table.index_select(0, calls.reshape(1)).reshape(())  # table[calls] cannot be traced


def _resolved(kind: Kind | str) -> Kind:
    """Return the scheduler's class for its name in `torch.optim.lr_scheduler` or its import path.

    Raises:
        InvalidValue: there is no such scheduler.
    """
    scheduler: Any = kind
    if isinstance(kind, str) and "." not in kind:
        base = lr_scheduler.LRScheduler
        known = {n: item for n, item in vars(lr_scheduler).items() if inspect.isclass(item) and issubclass(item, base)}
        if kind not in known:
            raise unknown("kind", kind, known)
        scheduler = known[kind]
    elif isinstance(kind, str):
        try:
            scheduler = pkgutil.resolve_name(kind)
        except Exception as error:  # a user's own module may raise anything
            allowed = "MODULE.NAME of a scheduler that can be imported"
            raise InvalidValue("kind", kind, allowed, " ".join(str(error).split())) from error
    plateau = inspect.isclass(scheduler) and issubclass(scheduler, lr_scheduler.ReduceLROnPlateau)
    hint = "The optimizer `reduce_on_plateau` lowers rates when a metric stops improving"
    require(not plateau, "kind", "ReduceLROnPlateau", "a scheduler of the step alone", hint)
    require(
        callable(scheduler),
        "kind",
        kind,
        "a scheduler's class, its name or import path, or a function of the optimizer",
    )
    return scheduler
