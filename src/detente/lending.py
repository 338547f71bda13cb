"""A module called with other tensors in the place of its own: `torch.func.functional_call`, looked up once.

Torch's finds every tensor by its name anew, before each call and after it, which takes as long as a small layer does.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import Any
from weakref import WeakKeyDictionary

from torch import Tensor, nn
from torch.func import functional_call

Places = dict[str, list[tuple[dict[str, Any], str]]]  # by a tensor's name: which layers keep it, and under which keys

_PLACES: WeakKeyDictionary[nn.Module, Places | None] = WeakKeyDictionary()


def called_with(module: nn.Module, tensors: dict[str, Tensor], inputs: tuple[Tensor, ...]) -> Any:
    """Return `module(*inputs)` with other tensors in the place of its own, which it has back afterwards.

    Args:
        module: which holds the same tensors, in the same layers, at every call.
        tensors: parameters and buffers by the names that the module itself tells; a tensor that several layers share
            is replaced in all of them. Afterwards those that the module left in their place.
        inputs: the module's.
    """
    if module not in _PLACES:
        _PLACES[module] = _places(module)
    places = _PLACES[module]
    if places is None:
        return functional_call(module, tensors, inputs)
    before: dict[str, Tensor] = {}
    try:
        for name, tensor in tensors.items():
            for owner, key in places[name]:
                before[name], owner[key] = owner[key], tensor
        return module(*inputs)
    finally:
        for name, tensor in before.items():
            for owner, key in places[name]:
                tensors[name], owner[key] = owner[key], tensor


def _places(module: nn.Module) -> Places | None:
    """Return where a module's tensors are; None where its layers are no ordinary ones."""
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
