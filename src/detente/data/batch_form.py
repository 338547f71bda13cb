"""The form of nested batches, in which they become named tensors and back."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields, is_dataclass
from functools import cached_property
from typing import Any

import numpy as np
import torch
from torch import Tensor

from detente.errors import InvalidValue, require

_RESERVED = ("t", "seed")  # names that a game adds to its batches
_NUMBERS = (Tensor, bool, int, float, np.number)


@dataclass(frozen=True)
class Form:
    """The form of nested batches, in which they become tensors by name and back.

    Args:
        template: dictionaries, tuples, lists and dataclasses, nested as the batches, with the name of each entry in its
            place: its keys joined by dots ("image", "0.label"); empty for entries that are no numbers, such as text.
    """

    template: Any

    @classmethod
    def of(cls, batch: Any) -> Form:
        """Return the form of a batch.

        Raises:
            InvalidValue: it has entries, but no numbers.
        """
        entries: list[str] = []

        def name(path: str, value: Any) -> str:
            entries.append(_entry(path) if _is_numeric(value) else "")
            return entries[-1]

        form = cls(_map(name, batch))
        allowed = "batches of tensors, also nested in dictionaries, tuples, lists and dataclasses"
        require(any(entries) or batch is None or not entries, "data", f"batches of {type(batch).__name__}", allowed)
        return form

    def flatten(self, batch: Any) -> dict[str, Tensor]:
        """Return a batch as tensors by name; additional entries are ignored.

        Raises:
            InvalidValue: entries are missing.
        """
        if self._is_flat and type(batch) is dict and all([type(batch.get(name)) is Tensor for name in self.names]):
            return {name: batch[name] for name in self.names}
        entries: dict[str, Any] = {}

        def add(path: str, value: Any) -> None:
            if _is_numeric(value):
                entries[_entry(path)] = value

        _map(add, batch)
        if not entries.keys() >= set(self.names):
            allowed = f"a batch with {', '.join(self.names)}"
            raise InvalidValue("batch", ", ".join(entries) or type(batch).__name__, allowed)
        return {name: torch.as_tensor(entries[name]) for name in self.names}

    def unflatten(self, tensors: Mapping[str, Tensor]) -> Any:
        """Return the nested batch; None takes the place of text."""
        if self._is_flat:
            return {name: tensors[name] for name in self.names}
        return _map(lambda _, name: tensors[name] if name else None, self.template)

    @cached_property
    def names(self) -> list[str]:
        """Names of the entries that are numbers."""
        names: list[str] = []
        _map(lambda _, name: names.append(name), self.template)
        return [name for name in names if name]

    @cached_property
    def _is_flat(self) -> bool:
        """Whether batches are dictionaries of numbers by the names that they have here; most are."""
        return isinstance(self.template, Mapping) and all(key == name for key, name in self.template.items())

    def __str__(self) -> str:
        """Return the kind of the batch and its entries."""
        names = "" if isinstance(self.template, str) else f"{type(self.template).__name__} with {', '.join(self.names)}"
        return f"a {names or 'tensor'}"


def map_entries(function: Callable[[Any], Any], batch: Any) -> Any:
    """Return a nested batch with `function(entry)` in the place of each entry."""
    return _map(lambda _, entry: function(entry), batch)


def _map(function: Callable[[str, Any], Any], value: Any, path: str = "") -> Any:
    """Return nested values with each entry replaced by `function(path, entry)`; any mapping becomes a dictionary."""
    if isinstance(value, (Tensor, str)):  # most entries, first, since the tests that follow are slower
        return function(path, value)

    def inside(key: Any, item: Any) -> Any:
        return _map(function, item, f"{path}.{key}" if path else str(key))

    if isinstance(value, Mapping):
        return {key: inside(key, item) for key, item in value.items()}
    if isinstance(value, tuple) and hasattr(value, "_fields"):  # a named tuple
        return type(value)(*map(inside, value._fields, value))  # pyright: ignore[reportAttributeAccessIssue]
    if isinstance(value, tuple | list):
        return type(value)(inside(index, item) for index, item in enumerate(value))
    if is_dataclass(value) and not isinstance(value, type):
        duplicate = copy.copy(value)
        for field in fields(value):
            object.__setattr__(duplicate, field.name, inside(field.name, getattr(value, field.name)))
        return duplicate
    return function(path, value)


def _entry(path: str) -> str:
    """Return the name of the entry at a path."""
    return f"batch.{path}" if path in _RESERVED else path or "batch"


def _is_numeric(value: Any) -> bool:
    if isinstance(value, np.ndarray):
        return value.dtype.kind in "biuf"
    return isinstance(value, _NUMBERS)
