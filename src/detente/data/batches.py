"""Batches of any form for `detente.Networks`: from data of ours, a DataLoader, an iterable, a callable or tensors."""

from __future__ import annotations

import copy
import hashlib
import io
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np
import torch
from torch import Tensor
from torch.utils._pytree import TreeSpec, tree_flatten_with_path, tree_leaves, tree_map, tree_unflatten
from torch.utils.data import Dataset, IterableDataset, default_collate

from detente.data.arrays import as_data
from detente.data.base import Data
from detente.errors import InvalidValue, require
from detente.modules.randomness import NUMPY, PYTHON, seeded

SOURCES = (
    "data of detente, a DataLoader, a Dataset, tensors, an iterable of batches, or a function of a torch.Generator"
)


_RESERVED = ("t", "seed")  # names that a game adds to its batches


@dataclass(frozen=True)
class Form:
    """The form of nested batches, in which they become tensors by name and back.

    Args:
        names: the name of each entry, its keys joined by dots ("image", "0.label"); empty for entries that are no
            numbers, such as text.
        structure: how the entries are nested.
    """

    names: tuple[str, ...]
    structure: TreeSpec

    @classmethod
    def of(cls, batch: Any) -> Form:
        """Return the form of a batch.

        Raises:
            InvalidValue: it has entries, but no numbers.
        """
        named, structure = _entries(batch)
        names = tuple(name for name, _ in named)
        allowed = "batches of tensors, also nested in dictionaries, tuples and lists"
        require(any(names) or batch is None or not names, "data", f"batches of {type(batch).__name__}", allowed)
        return cls(names, structure)

    def flatten(self, batch: Any) -> dict[str, Tensor]:
        """Return a batch as tensors by name; additional entries are ignored.

        Raises:
            InvalidValue: entries are missing.
        """
        entries = {name: value for name, value in _entries(batch)[0] if name}
        names = [name for name in self.names if name]
        complete = all(name in entries for name in names)
        require(complete, "batch", ", ".join(entries) or type(batch).__name__, f"a batch with {', '.join(names)}")
        return {name: torch.as_tensor(entries[name]) for name in names}

    def unflatten(self, tensors: Mapping[str, Tensor]) -> Any:
        """Return the nested batch; None takes the place of text."""
        return tree_unflatten([tensors[name] if name else None for name in self.names], self.structure)


def _entries(batch: Any) -> tuple[list[tuple[str, Any]], TreeSpec]:
    """Return the names and values of a batch's entries, and its structure; entries that are no numbers have no name."""
    batch = dict(batch) if isinstance(batch, Mapping) and type(batch) is not dict else batch
    pairs, structure = tree_flatten_with_path(batch)
    named = []
    for path, value in pairs:
        keys = [str(getattr(key, "key", getattr(key, "idx", getattr(key, "name", key)))) for key in path]
        name = ".".join(keys) or "batch"
        numeric = isinstance(value, Tensor | bool | int | float | np.number)
        numeric = numeric or (isinstance(value, np.ndarray) and value.dtype.kind in "biuf")
        named.append(((f"batch.{name}" if name in _RESERVED else name) if numeric else "", value))
    return named, structure


class Batches(ABC):
    """A source of batches: nested tuples, lists and dictionaries of tensors.

    Attributes:
        size: number of samples, or None if it is unknown.
        restores: whether training that is resumed continues with the same batches as without the interruption.
    """

    size: int | None = None
    restores: bool = True

    @abstractmethod
    def draw(self, count: int, generator: torch.Generator) -> Any:
        """Return the next batch for this generator, of `count` samples if the source does not fix the number."""

    def example(self, count: int) -> Any:
        """Return a batch that shows the form of all; training's batches do not change."""
        return self.draw(count, torch.Generator().manual_seed(0))

    def position(self, generator: torch.Generator) -> bytes:
        """Return the position in the stream of a generator, in addition to the generator's own state."""
        del generator
        return b""

    def restore(self, generator: torch.Generator, position: bytes) -> None:
        """Continue the stream of a generator at a position."""
        del generator, position

    def fingerprint(self) -> str:
        """Return 16 hexadecimal digits that identify the source as far as possible: its class and size."""
        return hashlib.sha256(f"{type(self).__qualname__} {self.size}".encode()).hexdigest()[:16]


def as_batches(source: Any) -> Batches:
    """Return a source of batches.

    Args:
        source: anything that `Adversarial` accepts as data, whose batches are dictionaries with "real" and, for labels,
            "label"; a dictionary or tuple of tensors of one length, of which rows are drawn with replacement; a
            `Dataset`, whose items are drawn with replacement and collated; a `DataLoader` or another iterable of
            batches, which starts again at its end; or a function that draws a batch with a `torch.Generator`.

    Raises:
        InvalidValue: `source` is none of these.
    """
    if isinstance(source, Data | str | Tensor | np.ndarray) or hasattr(source, "__fspath__"):
        return _Drawn(as_data(source))
    tensors = tree_leaves(source) if isinstance(source, Mapping | tuple) else []
    if tensors and all(isinstance(leaf, Tensor | np.ndarray) and leaf.ndim for leaf in tensors):
        lengths = {len(leaf) for leaf in tensors}
        require(len(lengths) == 1, "data", f"tensors of lengths {sorted(lengths)}", "tensors of one length")
        return _Rows(source)
    if isinstance(source, Dataset) and not isinstance(source, IterableDataset):
        return _Items(source)
    if isinstance(source, Iterable) and not isinstance(source, Mapping):
        return _Stream(source)
    if not callable(source):
        raise InvalidValue("data", type(source).__name__, SOURCES)
    return _Function(source)


class _Drawn(Batches):
    """Samples of `detente.data`."""

    def __init__(self, data: Data) -> None:
        self.data, self.size = data, data.size

    def draw(self, count: int, generator: torch.Generator) -> dict[str, Tensor]:
        return self.data.draw(count, generator)

    def fingerprint(self) -> str:
        return self.data.fingerprint()


class _Rows(Batches):
    """Rows of tensors, drawn uniformly with replacement."""

    def __init__(self, tensors: Any) -> None:
        self.tensors = tree_map(torch.as_tensor, tensors)
        self.size = len(tree_leaves(self.tensors)[0])

    def draw(self, count: int, generator: torch.Generator) -> Any:
        indices = torch.randint(self.size or 0, (count,), generator=generator, device=generator.device)
        return tree_map(lambda tensor: tensor[indices.to(tensor.device)], self.tensors)

    def fingerprint(self) -> str:
        digest = hashlib.sha256()
        for tensor in tree_leaves(self.tensors):
            step = max(1, len(tensor) // 256)
            digest.update(f"{tuple(tensor.shape)}".encode() + tensor[::step].cpu().contiguous().numpy().tobytes())
        return digest.hexdigest()[:16]


class _Items(Batches):
    """Items of a Dataset, drawn uniformly with replacement; its random transforms are seeded by the generator."""

    def __init__(self, dataset: Any) -> None:
        sized = hasattr(dataset, "__len__") and len(dataset) > 0
        require(sized, "data", type(dataset).__name__, "a Dataset with at least one item and a length")
        self.dataset, self.size = dataset, len(dataset)

    def draw(self, count: int, generator: torch.Generator) -> Any:
        indices = torch.randint(self.size or 0, (count,), generator=generator, device=generator.device)
        with _seeded(generator):
            return default_collate([self.dataset[int(index)] for index in indices])


class _Function(Batches):
    """A function that draws a batch with a generator."""

    def __init__(self, function: Callable[[torch.Generator], Any]) -> None:
        self.function = function

    def draw(self, count: int, generator: torch.Generator) -> Any:
        del count
        return self.function(generator)


class _Stream(Batches):
    """Batches of a DataLoader or another iterable, which starts again at its end.

    Each generator (each seed of a run) has an iterator of its own. An object with `state_dict` and `load_state_dict`,
    such as torchdata's `StatefulDataLoader`, continues exactly where it was; for another, the order is not restored.
    """

    def __init__(self, source: Any) -> None:
        self.source = source
        self.restores = hasattr(source, "state_dict") and hasattr(source, "load_state_dict")
        self.once = iter(source) is source if isinstance(source, Iterator) else False
        self._streams: WeakKeyDictionary[torch.Generator, tuple[Any, Iterator[Any]]] = WeakKeyDictionary()
        self._examples: list[Any] = []
        self._unused: list[Any] = []  # an example that training has not used yet
        dataset = getattr(source, "dataset", None)
        self.size = len(dataset) if hasattr(dataset, "__len__") else None  # pyright: ignore[reportArgumentType]

    def example(self, count: int) -> Any:
        """Return a batch that shows the form of all; an iterator that cannot start again keeps it for training."""
        if not self._examples:
            generator = torch.Generator().manual_seed(0)
            self._examples.append(self.draw(count, generator))
            self._unused = list(self._examples) if self.once else []
        return self._examples[0]

    def draw(self, count: int, generator: torch.Generator) -> Any:
        del count
        if self._unused:
            return self._unused.pop()
        with _seeded(generator):
            for _ in range(2):
                if generator not in self._streams:
                    loader = self.source if self.once else copy.copy(self.source)
                    self._streams[generator] = loader, iter(loader)
                try:
                    return next(self._streams[generator][1])
                except StopIteration:
                    del self._streams[generator]
                    if self.once:
                        break
        hint = "Give an iterable that can start again, such as a DataLoader" if self.once else "It has no batches"
        raise InvalidValue("data", type(self.source).__name__, "batches for all steps", hint)

    def position(self, generator: torch.Generator) -> bytes:
        if not self.restores or generator not in self._streams:
            return b""
        content = io.BytesIO()
        torch.save(self._streams[generator][0].state_dict(), content)
        return content.getvalue()

    def restore(self, generator: torch.Generator, position: bytes) -> None:
        if self.restores and position:
            loader = copy.copy(self.source)
            loader.load_state_dict(torch.load(io.BytesIO(position), weights_only=True))
            with _seeded(generator.clone_state()):
                self._streams[generator] = loader, iter(loader)


def _seeded(generator: torch.Generator) -> AbstractContextManager:
    """Return a context in which torch's, Python's and NumPy's global generators are seeded from `generator`."""
    seed = int(torch.randint(2**62, (), generator=generator, device=generator.device))
    return seeded(seed, torch.device("cpu"), (PYTHON, NUMPY))
