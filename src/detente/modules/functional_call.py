"""A faster `torch.func.functional_call`, which calls a module with its tensors replaced by others.

Torch looks up every tensor by name before and after each call, which takes as long as a small layer. Here the lookup
is done once.
"""

from __future__ import annotations

import types
from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from typing import Any, NamedTuple
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn

from detente.modules.object_graph import references

Places = dict[str, list[tuple[dict[str, Any], str]]]  # by tensor name: dictionaries that hold the tensor, with keys

EMPTY: Mapping[str, Any] = types.MappingProxyType({})


class Held(NamedTuple):
    """Where a module holds its tensors: places by name, None if unknown, and containers outside of its layers."""

    places: Places | None
    containers: list[tuple[str, Any, Any]]


_HELD: WeakKeyDictionary[nn.Module, Held] = WeakKeyDictionary()


def functional_call(
    module: nn.Module,
    tensors: dict[str, Tensor],
    inputs: tuple[Any, ...],
    keywords: Mapping[str, Any] = EMPTY,
    part: str = "",
) -> Any:
    """Return `module(*inputs)`, computed with other parameters and buffers; the module's own are restored afterwards.

    Args:
        module: the module. It must hold the same tensors in the same layers at every call.
        tensors: parameters and buffers by their names in the module; a tensor that several layers share is replaced in
            all of them. After the call, the dictionary contains the tensors that the module held at the end.
        inputs: positional inputs.
        keywords: inputs by keyword.
        part: path of a method or submodule to call instead of the module itself, such as "encode" or "0.decode".
    """
    places, containers = _held(module)
    if places is None:
        if part:
            module, tensors = _Part(module, part), {f"module.{name}": tensor for name, tensor in tensors.items()}
        return torch.func.functional_call(module, tensors, inputs, dict(keywords))
    original: dict[str, Tensor] = {}
    replaced: list[tuple[Any, Any, Tensor]] = []
    try:
        for name, container, key in containers:
            if name in tensors:
                replaced.append((container, key, container[key]))
                container[key] = tensors[name]
        for name, tensor in tensors.items():
            for owner, key in places[name]:
                original[name], owner[key] = owner[key], tensor
        return (part_of(module, part) if part else module)(*inputs, **keywords)
    finally:
        for name, tensor in original.items():
            for owner, key in places[name]:
                tensors[name], owner[key] = owner[key], tensor
        for container, key, tensor in replaced:
            with suppress(IndexError):  # the call shortened the list
                container[key] = tensor


class Bound:
    """A module that holds other tensors from call to call, until `release`.

    Args:
        places: the places of the module's tensors.
        slots: for each parameter the owner and the key of its place, the tensor to hold there, and the module's own.
        buffers: names of the tensors that each call gets anew.
    """

    def __init__(self, places: Places, slots: list[tuple[Any, str, Tensor, Tensor]], buffers: Iterable[str]) -> None:
        self._places, self._slots = places, slots
        self._original = (
            [(owner, key, owner[key]) for name in buffers for owner, key in places[name]] if buffers else ()
        )

    def hold(self, buffers: Mapping[str, Tensor]) -> None:
        """Let the module hold the parameters, and copies of the buffers."""
        for owner, key, tensor, _ in self._slots:
            owner[key] = tensor
        for name, buffer in buffers.items() if buffers else ():
            copy = buffer.clone()  # BatchNorm updates in place
            for owner, key in self._places[name]:
                owner[key] = copy

    def held(self, names: Iterable[str]) -> dict[str, Tensor]:
        """Return the buffers that the module holds after a call."""
        last = {name: self._places[name][-1] for name in names}
        return {name: owner[key] for name, (owner, key) in last.items()}

    def release(self) -> None:
        """Give the module its own tensors back."""
        for owner, key, _, original in self._slots:
            owner[key] = original
        for owner, key, original in self._original:
            owner[key] = original


def bound(module: nn.Module, tensors: Mapping[str, Tensor], buffers: Iterable[str]) -> Bound | None:
    """Return the module, bound to tensors; None if it holds others on another device, or some outside of its layers.

    Args:
        module: the module.
        tensors: all its trainable parameters by name.
        buffers: names of its buffers.
    """
    places, containers = _held(module)
    if places is None or containers:
        return None
    slots = [(owner, key, tensor, owner[key]) for name, tensor in tensors.items() for owner, key in places[name]]
    _, _, tensor, original = slots[0]
    return Bound(places, slots, buffers) if original.device == tensor.device else None


def device_of(module: nn.Module, name: str) -> torch.device:
    """Return the device of the tensor of this name that a module holds."""
    places = _held(module).places
    if places is None:
        return next(module.parameters()).device
    owner, key = places[name][0]
    return owner[key].device


def _held(module: nn.Module) -> Held:
    try:
        return _HELD[module]
    except KeyError:
        return _HELD.setdefault(module, Held(_places(module), _in_containers(module)))


def part_of(module: nn.Module, path: str) -> Callable[..., Any]:
    """Return the method or submodule at a path of attributes, or of keys of containers, separated by dots."""
    value: Any = module
    for name in path.split("."):
        submodule = getattr(value, "_modules", {}).get(name)
        value = getattr(value, name) if submodule is None else submodule
    return value


class _Part(nn.Module):
    """A module whose call is a call of a part of another module."""

    def __init__(self, module: nn.Module, part: str) -> None:
        super().__init__()
        self.module, self.part = module, part

    def forward(self, *inputs: Any, **keywords: Any) -> Any:
        return part_of(self.module, self.part)(*inputs, **keywords)


def _places(module: nn.Module) -> Places | None:
    """Return the places of a module's tensors, or None if a layer does not store them in ordinary dictionaries."""
    names: dict[int, str] = {}  # the first name of each tensor
    places: Places = {}
    for prefix, part in module.named_modules():
        for owner in (part._parameters, part._buffers):
            if type(owner) not in (dict, OrderedDict):
                return None
            for key, tensor in owner.items():
                if tensor is not None:
                    name = names.setdefault(id(tensor), f"{prefix}.{key}" if prefix else key)
                    places.setdefault(name, []).append((owner, key))
    return places


class _Variable:
    """A closure variable with the interface of a container of one item."""

    def __init__(self, cell: types.CellType) -> None:
        self._cell = cell

    def __getitem__(self, key: None) -> Any:
        return self._cell.cell_contents

    def __setitem__(self, key: None, value: Any) -> None:
        self._cell.cell_contents = value


class _Tuple:
    """A tuple with writable items: a write replaces the tuple in its owner."""

    def __init__(self, owner: Any, key: Any) -> None:
        self._owner, self._key = owner, key

    def __getitem__(self, index: int) -> Any:
        return self._owner[self._key][index]

    def __setitem__(self, index: int, value: Any) -> None:
        original = self._owner[self._key]
        items = [*original[:index], value, *original[index + 1 :]]
        self._owner[self._key] = type(original)(*items) if hasattr(original, "_fields") else tuple(items)


def _in_containers(module: nn.Module) -> list[tuple[str, Any, Any]]:
    """Return name, container and key of the parameters and buffers that containers and closures also hold."""
    names = {
        id(tensor): name for named in (module.named_parameters(), module.named_buffers()) for name, tensor in named
    }
    registries = {id(owner) for part in module.modules() for owner in (part._parameters, part._buffers)}
    tuples: dict[int, _Tuple] = {}
    places: list[tuple[str, Any, Any]] = []
    for reference in references(module):
        owner, key, value = reference.owner, reference.key, reference.value
        if isinstance(owner, types.CellType):
            owner = _Variable(owner)
        owner = tuples.get(id(owner), owner)
        if not isinstance(owner, (dict, list, _Variable, _Tuple)):
            continue
        if isinstance(value, tuple):
            tuples[id(value)] = _Tuple(owner, key)
        # Recurrent layers update their own list whenever their weights are replaced.
        elif id(value) in names and id(reference.owner) not in registries and "_flat_weights" not in reference.path:
            places.append((names[id(value)], owner, key))
    return places
