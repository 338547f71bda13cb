"""Tensors nested in what a module returns: in tuples, lists, mappings and dataclasses."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Mapping
from dataclasses import fields, is_dataclass
from typing import Any

from torch import Tensor
from torch.utils._pytree import tree_leaves, tree_map_only


def tensors_of(value: Any) -> Iterator[Tensor]:
    """Yield the tensors in a value, from left to right."""
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, Mapping | tuple | list):
        for item in value.values() if isinstance(value, Mapping) else value:
            yield from tensors_of(item)
    elif is_dataclass(value):
        for field in fields(value):
            yield from tensors_of(getattr(value, field.name))
    else:  # classes that are registered with torch
        yield from (leaf for leaf in tree_leaves(value) if isinstance(leaf, Tensor))


def map_tensors(function: Callable[[Tensor], Any], value: Any) -> Any:
    """Return a value of the same form with `function(tensor)` in the place of each tensor."""
    if isinstance(value, Tensor):
        return function(value)
    if isinstance(value, tuple | list):
        items = [map_tensors(function, item) for item in value]
        return type(value)(*items) if hasattr(value, "_fields") else type(value)(items)
    if isinstance(value, Mapping):
        items = {key: map_tensors(function, item) for key, item in value.items()}
        if type(value) is dict:
            return items
        duplicate: Any = copy.copy(value)
        for key, item in items.items():
            duplicate[key] = item
        return duplicate
    if is_dataclass(value) and not isinstance(value, type):
        duplicate = copy.copy(value)
        for field in fields(value):
            object.__setattr__(duplicate, field.name, map_tensors(function, getattr(value, field.name)))
        return duplicate
    return tree_map_only(Tensor, function, value)
