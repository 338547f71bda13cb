"""Any optimizer of `torch.optim`, or with its interface."""

from __future__ import annotations

import inspect
import pkgutil
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

import torch
from torch import Tensor

from detente.errors import InvalidValue, require, unknown
from detente.modules.layout import Layout
from detente.optimizers.base import Optimizer
from detente.optimizers.running_optimizer import Constructed, Kind, Memory, Running, Setup, matches, one_line, pieces
from detente.schedules.text import from_text


@dataclass(frozen=True, init=False)
class Torch(Optimizer):
    """A `torch.optim.Optimizer`, of PyTorch or of another package: x and its state after `optimizer.step()`.

    The optimizer gets the parameters of the player's module, with names and shapes, as views of the player's vector; a
    plain vector is one parameter, "vector". The entries of its `state_dict` that steps change are the memory, numbers
    such as `step` included, so a resumed run continues exactly. Any setting may be a schedule. Steps run eagerly.

    Args:
        kind: the optimizer's class, its name in `torch.optim` ("AdamW"), or an import path ("my_package.Lion").
        groups: settings of some parameters by a pattern of their names, such as `{"*.bias": {"weight_decay": 0.0}}`,
            or of their number of dimensions, such as `{"ndim<2": {"weight_decay": 0.0}}` for biases and the weights of
            normalization layers. If several patterns match a parameter, the last one wins.
        settings: all other keywords are passed to the optimizer, such as `lr=1e-4`. A schedule may be text, such as
            `lr="cosine(1e-4, 0, 10000)"`.

    Raises:
        InvalidValue: the optimizer does not accept its settings, a pattern matches no parameter, or the optimizer needs
            a closure (LBFGS) or sparse gradients (SparseAdam).

    Source: `torch.optim`.
    """

    traceable = False

    kind: str | Kind
    groups: Mapping[str, Mapping[str, Any]]
    settings: Mapping[str, Any]

    if TYPE_CHECKING:  # set for a player; no settings, so no fields of the dataclass
        _layout: Layout | None
        _running: dict[Any, Any]

    def __init__(
        self, kind: Kind | str = "AdamW", groups: Mapping[str, Mapping[str, Any]] | None = None, **settings: Any
    ) -> None:
        arguments = {"groups": from_text(groups or {}), "settings": from_text(settings)}
        self._set(kind=_resolved(kind), **arguments, _layout=None, _running={})
        valid = isinstance(self.groups, Mapping) and all(isinstance(group, Mapping) for group in self.groups.values())
        require(valid, "groups", groups, 'settings by pattern, such as {"*.bias": {"weight_decay": 0.0}}')
        Running(self._setup(Layout(("weight",), ((2, 2),))), torch.ones(4))  # raises the errors of the settings

    def _set(self, **attributes: Any) -> None:
        for name, attribute in attributes.items():
            object.__setattr__(self, name, attribute)

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_running": {}}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self._set(**state)

    def check(self, layouts: Mapping[str, Layout]) -> None:
        """Raise `InvalidValue` if a pattern matches no parameter of any of the players."""
        parameters = [piece for layout in layouts.values() for piece in pieces(layout)] or [("vector", 1)]
        for pattern in self.groups:
            allowed = f"a pattern that matches one of {', '.join(name for name, _ in parameters)}"
            fits = any(matches(pattern, *parameter) for parameter in parameters)
            require(fits, "groups", pattern, allowed, "Or e.g. 'ndim<2'")

    def for_layout(self, layout: Layout) -> Self:
        """Return the optimizer of parameters with these names and shapes."""
        if layout not in self._running:
            bound = object.__new__(type(self))
            bound._set(**{**self.__dict__, "_layout": layout, "_running": {}})
            self._running[layout] = bound
        return self._running[layout]

    def initial(self, vector: Tensor) -> Memory:
        """Return the optimizer's state before its first step; entries that do not exist yet are zero."""
        running = self._optimizer(vector)
        fresh = Constructed(running.setup, vector.clone(), running.moving)
        return running.memory(fresh.state())

    def __call__(
        self, vector: Tensor, direction: Tensor, memory: Memory, t: Tensor, noise: Tensor | None = None
    ) -> tuple[Tensor, Memory]:
        """Return the parameters after `optimizer.step()`, and its state."""
        copies = {name: tensor.clone() for name, tensor in memory.items()}
        return self.step_in_place(vector.clone(), direction, copies, t)

    def step_in_place(
        self, vector: Tensor, direction: Tensor, memory: Memory, t: Tensor, noise: Tensor | None = None
    ) -> tuple[Tensor, Memory]:
        """Return the same as a call, but overwrite `vector` and `memory`."""
        return self._optimizer(vector).step(vector, direction, memory, t)

    def _setup(self, layout: Layout) -> Setup:
        return Setup(self.kind, self.settings, self.groups, layout)  # pyright: ignore[reportArgumentType]

    def _optimizer(self, vector: Tensor) -> Running:
        """Return the optimizer for such vectors, which is constructed once."""
        key = (vector.shape, vector.dtype, vector.device)
        if key not in self._running:
            layout = self._layout or Layout(("vector",), (tuple(vector.shape),))
            self._running[key] = Running(self._setup(layout), vector)
        return self._running[key]


def _resolved(kind: Kind | str) -> Kind:
    """Return the optimizer's class for its name in `torch.optim` or its import path.

    Raises:
        InvalidValue: there is no such optimizer.
    """
    optimizer: Any = kind
    if isinstance(kind, str) and "." not in kind:
        known: dict[str, Any] = {name: item for name, item in vars(torch.optim).items() if _is_optimizer(item)}
        if kind not in known:
            raise unknown("kind", kind, known)
        optimizer = known[kind]
    elif isinstance(kind, str):
        try:
            optimizer = pkgutil.resolve_name(kind)
        except Exception as error:  # a user's own module may raise anything
            allowed = "MODULE.NAME of a torch.optim.Optimizer that can be imported"
            raise InvalidValue("kind", kind, allowed, one_line(error)) from error
    valid = _is_optimizer(optimizer) if inspect.isclass(optimizer) else callable(optimizer)
    require(valid, "kind", kind, "a subclass of torch.optim.Optimizer, or its name or import path")
    return optimizer  # pyright: ignore[reportReturnType]


def _is_optimizer(item: object) -> bool:
    return inspect.isclass(item) and issubclass(item, torch.optim.Optimizer) and item is not torch.optim.Optimizer
