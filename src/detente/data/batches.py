"""Batches of any form for `detente.Networks`: from a `Data`, a DataLoader, an iterable, a callable or tensors."""

from __future__ import annotations

import copy
import hashlib
import io
import warnings
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np
import torch
from torch import Tensor
from torch.utils._pytree import tree_leaves, tree_map
from torch.utils.data import BatchSampler, DataLoader, Dataset, IterableDataset, Sampler, default_collate

from detente.data.arrays import as_data
from detente.data.base import Data, StoredData, in_whole_batch, rows_to_read
from detente.deprecated import lookup
from detente.errors import InvalidValue, require
from detente.modules.randomness import NUMPY, PYTHON, seeded

SOURCES = (
    "data of detente, a DataLoader, a Dataset, tensors, an iterable of batches, or a function of a torch.Generator"
)

_LOST = b"lost"  # the position in a stream that has begun and cannot be restored


class Batches(ABC):
    """A source of batches: nested tuples, lists and dictionaries of tensors.

    Attributes:
        size: number of samples, or None if it is unknown.
        restores: whether training that is resumed continues with the same batches as without the interruption.
        once: whether the batches end and cannot start again.
    """

    size: int | None = None
    restores: bool = True
    once: bool = False

    @property
    def ordered(self) -> bool:
        """Whether training reads a stored set in an order of its source, so that the next samples may be alike."""
        return False

    @abstractmethod
    def draw(self, count: int, generator: torch.Generator) -> Any:
        """Return the next batch for this generator, of `count` samples if the source does not fix the number."""

    def example(self, count: int) -> Any:
        """Return a batch that shows the form of all; training's batches do not change."""
        return self.draw(count, torch.Generator().manual_seed(0))

    def peek(self, count: int, generator: torch.Generator) -> Any:
        """Return a batch for a measurement; training's batches do not change."""
        return self.draw(count, generator)

    def anywhere(self, count: int, generator: torch.Generator) -> Any:
        """Return samples for a measurement from all over a source that is ordered."""
        return self.peek(count, generator)

    def take(self, indices: Tensor) -> Any:
        """Return the batch of the samples at `indices`, (count,) int64.

        Raises:
            InvalidValue: the source is not a stored set of samples.
        """
        allowed = "tensors or a stored set of samples, so that the losses are finite sums"
        raise InvalidValue("data", type(self).__name__.strip("_").lower(), allowed)

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


def as_batches(source: Any, count: int = 64) -> Batches:
    """Return a source of batches.

    Args:
        source: anything that `Adversarial` accepts as data, whose batches are dictionaries with "real" and, for labels,
            "label"; a dictionary or tuple of tensors of one length, whose rows are drawn with replacement; a
            `Dataset`, whose items are drawn with replacement and collated; a `DataLoader` or another iterable of
            batches, which starts again at its end; or a function that draws a batch with a `torch.Generator`. Items of
            an `IterableDataset` are collated in their order.
        count: samples in a batch of an `IterableDataset`.

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
    if isinstance(source, IterableDataset):
        return _Stream(DataLoader(source, batch_size=count))
    if isinstance(source, Dataset) or hasattr(source, "__getitems__") and hasattr(source, "__len__"):  # or a hub's
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

    def take(self, indices: Tensor) -> Any:
        return self.data.take(indices) if isinstance(self.data, StoredData) else super().take(indices)

    def fingerprint(self) -> str:
        return self.data.fingerprint()


class _Rows(Batches):
    """Rows of tensors, drawn uniformly with replacement."""

    def __init__(self, tensors: Any) -> None:
        self.tensors = tree_map(torch.as_tensor, tensors)
        self.size = len(tree_leaves(self.tensors)[0])

    def draw(self, count: int, generator: torch.Generator) -> Any:
        indices = torch.randint(self.size or 0, (count,), generator=generator, device=generator.device)
        rows = rows_to_read(count)
        return self.take(indices) if rows is None else _enlarged(self.take(indices[rows]), rows, count)

    def take(self, indices: Tensor) -> Any:
        return tree_map(lambda tensor: tensor[indices.to(tensor.device)], self.tensors)

    def fingerprint(self) -> str:
        digest = hashlib.sha256()
        for tensor in tree_leaves(self.tensors):
            step = max(1, len(tensor) // 256)
            digest.update(f"{tuple(tensor.shape)}".encode() + tensor[::step].cpu().contiguous().numpy().tobytes())
        return digest.hexdigest()[:16]


class _Items(Batches):
    """Items of a Dataset, drawn uniformly with replacement; each place in a batch has a seed, for random transforms."""

    def __init__(self, dataset: Any) -> None:
        sized = hasattr(dataset, "__len__") and len(dataset) > 0
        require(sized, "data", type(dataset).__name__, "a Dataset with at least one item and a length")
        self.dataset, self.size = dataset, len(dataset)

    def draw(self, count: int, generator: torch.Generator) -> Any:
        indices = torch.randint(self.size or 0, (count,), generator=generator, device=generator.device)
        rows, seed = rows_to_read(count), _drawn_seed(generator)
        positions, items = range(count) if rows is None else rows.tolist(), []
        with _seeded_by(seed) as reseed:
            for position in positions:
                reseed(seed + position)
                items.append(self.dataset[int(indices[position])])
            part = default_collate(items)
        return part if rows is None else _enlarged(part, rows, count)


def _enlarged(part: Any, rows: Tensor, count: int) -> Any:
    return tree_map(lambda of: in_whole_batch(of, rows, count) if isinstance(of, Tensor) else of, part)


class _Function(Batches):
    """A function that draws a batch with a generator."""

    def __init__(self, function: Callable[[torch.Generator], Any]) -> None:
        self.function = function

    def draw(self, count: int, generator: torch.Generator) -> Any:
        del count
        return self.function(generator)


class _Stream(Batches):
    """Batches of a DataLoader or another iterable, which starts again at its end.

    Each generator (each seed of a run) has a copy of the source with samplers of its own, so that its batches are those
    of a run with this seed alone; an iterator, which cannot start again, is shared. An object with `state_dict` and
    `load_state_dict`, such as torchdata's `StatefulDataLoader`, continues exactly where it was; for another, the order
    is not restored.
    """

    def __init__(self, source: Any) -> None:
        self.source = source
        self.restores = hasattr(source, "state_dict") and hasattr(source, "load_state_dict")
        self.once = isinstance(source, Iterator)
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

    def peek(self, count: int, generator: torch.Generator) -> Any:
        """Return a batch for a measurement: of an iterator that cannot start again, always the example."""
        return self.example(count) if self.once else self.draw(count, generator)

    @property
    def ordered(self) -> bool:
        """Whether this is a DataLoader of a set whose items can be read in another order."""
        loader = isinstance(self.source, DataLoader)
        return loader and not isinstance(self.source.dataset, IterableDataset) and bool(self.size)

    def anywhere(self, count: int, generator: torch.Generator) -> Any:
        """Return random items of a DataLoader's set."""
        indices = torch.randint(self.size or 0, (count,), generator=generator).tolist()
        with _seeded(generator):
            return self.source.collate_fn([self.source.dataset[index] for index in indices])

    def draw(self, count: int, generator: torch.Generator) -> Any:
        del count
        if self._unused:
            return self._unused.pop()
        with _seeded(generator):
            if generator not in self._streams:
                self._start(generator, self.source if self.once else _copied(self.source))
            for _ in range(2):
                loader, iterator = self._streams[generator]
                try:
                    return next(iterator)
                except StopIteration:
                    if self.once:
                        break
                    self._start(generator, loader)
        hint = "Give an iterable that can start again, such as a DataLoader" if self.once else "It has no batches"
        raise InvalidValue("data", type(self.source).__name__, "batches for all steps", hint)

    def _start(self, generator: torch.Generator, loader: Any) -> None:
        self._streams[generator] = loader, iter(loader)

    def position(self, generator: torch.Generator) -> bytes:
        if generator not in self._streams:
            return b""
        if not self.restores:
            return _LOST
        loader, content = self._streams[generator][0], io.BytesIO()
        order = getattr(loader, "generator", None)  # of the following epochs; the loader's state omits it
        order = order.get_state() if isinstance(order, torch.Generator) else None
        torch.save((loader.state_dict(), order), content)
        return content.getvalue()

    def restore(self, generator: torch.Generator, position: bytes) -> None:
        if position == _LOST:
            text = "the order of the data is not restored; torchdata's StatefulDataLoader would continue where it was"
            warnings.warn(text, stacklevel=2)
        elif self.restores and position:
            loader = _copied(self.source)
            state, order = torch.load(io.BytesIO(position), weights_only=True)
            loader.load_state_dict(state)
            with _seeded(generator.clone_state()):
                self._start(generator, loader)
            if order is not None:
                loader.generator.set_state(order)


def _copied(source: Any) -> Any:
    """Return a copy of a DataLoader or another iterable, whose samplers and generators are copies, but not its data."""
    memo = {id(part): part for part in (getattr(source, "dataset", None),) if part is not None}
    duplicate = copy.copy(source)
    if isinstance(source, DataLoader):
        for name, value in vars(source).items():
            if isinstance(value, Sampler | BatchSampler | torch.Generator):
                vars(duplicate)[name] = copy.deepcopy(value, memo)
    return duplicate


def _seeded(generator: torch.Generator) -> AbstractContextManager[Callable[[int], None]]:
    """Return a context in which torch's, Python's and NumPy's global generators are seeded from `generator`."""
    return _seeded_by(_drawn_seed(generator))


def _seeded_by(seed: int) -> AbstractContextManager[Callable[[int], None]]:
    return seeded(seed, torch.device("cpu"), (PYTHON, NUMPY))


def _drawn_seed(generator: torch.Generator) -> int:
    return int(torch.randint(2**62, (), generator=generator, device=generator.device))


__getattr__ = lookup(__name__)
