"""The real samples that stand for a data set in metrics, and the range of its pixels."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator
from typing import Any, TypeVar

import numpy as np
import torch
from torch import Tensor
from torch.utils.weak import WeakIdKeyDictionary

from detente.data.base import Data, StoredData
from detente.errors import InvalidValue

REAL = 10_000  # default for the largest number of real samples that represent a data set
SEED = 20_170_601  # determines these samples and their order
PART = 128  # samples in one call of an extractor

Result = TypeVar("Result")
Range = tuple[float, float]
RANGES: tuple[Range, ...] = ((0.0, 1.0), (-1.0, 1.0), (0.0, 255.0))
TOLERANCE = 0.01  # of a range, which resizing and JPEG exceed a little
_results_by_data: Any = WeakIdKeyDictionary()  # data → results by key


class BatchSamples(Data):
    """Real samples from the batches of a game whose data are no `Data`, such as a `DataLoader`.

    Args:
        game: the game, with `batches`.
        name: entry of the batches.
        shape: shape of a sample, without the batch.
    """

    def __init__(self, game: Any, name: str, shape: tuple[int, ...]) -> None:
        self._game, self._name, self._shape = game, name, shape

    @property
    def shape(self) -> tuple[int, ...]:
        return self._shape

    @property
    def size(self) -> int | None:
        return self._game.batches.size

    def draw(self, count: int, generator: torch.Generator) -> dict[str, Tensor]:
        parts: list[Tensor] = []
        while sum(map(len, parts)) < count:
            parts.append(self._game.draw(generator)[self._name].float())
        return {"real": torch.cat(parts)[:count]}


def data_of(game: Any) -> Any:
    """Return the real data of a game: its `data`, or the samples in its batches; None if there are none.

    Of batches, the samples are the entry "real", or the only entry of floating-point numbers with an axis besides the
    batch's. Batches that come only once are left to the training.
    """
    data, batches = getattr(game, "data", None), getattr(game, "batches", None)
    if isinstance(data, Data) or batches is None:
        return data
    memo, key = game.evaluation_memo, "real samples of metrics"
    if key not in memo:
        memo[key] = None if getattr(batches, "once", False) else _batch_samples(game)
    return memo[key]


def _batch_samples(game: Any) -> BatchSamples | None:
    batch = game.draw(torch.Generator().manual_seed(SEED))
    candidates = {name: entry for name, entry in batch.items() if entry.is_floating_point() and entry.dim() > 1}
    names = ["real"] if "real" in candidates else list(candidates)
    return BatchSamples(game, names[0], tuple(candidates[names[0]].shape[1:])) if len(names) == 1 else None


def cached_on_data(data: Data, key: Hashable, compute: Callable[[], Result]) -> Result:
    """Return the result of `compute` for `data`, which runs once per `key`."""
    if data not in _results_by_data:
        _results_by_data[data] = {}
    entries = _results_by_data[data]
    if key not in entries:
        entries[key] = compute()
    return entries[key]


def real_count(data: Data, count: int = REAL) -> int:
    """Return the number of samples that `real_parts` yields: `count`, or all samples of a smaller set."""
    finite = isinstance(data, StoredData | BatchSamples) and data.size is not None
    return min(count, data.size or count) if finite else count


def real_parts(data: Data, count: int = REAL) -> Iterator[dict[str, Tensor]]:
    """Yield up to `count` real samples with their labels, ≤ 128 at a time: always the same ones, in random order.

    Each is a dictionary as from `Data.draw`. Of a finite set, a larger count begins with the samples of a smaller one.
    """
    generator = torch.Generator().manual_seed(SEED)
    if isinstance(data, StoredData):
        for part in torch.randperm(data.size, generator=generator)[:count].split(PART):
            yield data.take(part)
        return
    count = real_count(data, count)
    if isinstance(data, BatchSamples):  # at once, so that no batch is drawn twice or cut off
        samples = data.draw(count, generator)["real"]
        yield from ({"real": part} for part in samples.split(PART))
        return
    for start in range(0, count, PART):
        yield data.draw(min(PART, count - start), generator)


def is_images(data: Any) -> bool:
    """Return whether samples are grey or RGB images, (1 or 3, height, width)."""
    shape = tuple(getattr(data, "shape", ()))
    return len(shape) == 3 and shape[0] in (1, 3)


def pixel_range(data: Data) -> Range:
    """Return the range of the pixels of images: [−1, 1] for the library's data sets, else also [0, 1] or [0, 255].

    Raises:
        InvalidValue: the images have another range.
    """
    return cached_on_data(data, "pixel range", lambda: _pixel_range(data))


def missing_range(data: Data) -> str:
    """Return in words why images have no range of pixels; empty if they have one, or if samples are no images."""
    try:
        _ = pixel_range(data) if is_images(data) else None
    except InvalidValue as error:
        return f"it needs {error.allowed}, and this game's are {error.value}"
    return ""


def _pixel_range(data: Data) -> Range:
    if isinstance(data, StoredData) and data.arrays[0].dtype in (torch.uint8, np.uint8):
        return (-1.0, 1.0)  # as they are read
    parts = [part["real"] for part in real_parts(data)]
    low, high = min(float(part.min()) for part in parts), max(float(part.max()) for part in parts)
    for least, most in RANGES:
        slack = TOLERANCE * (most - least)
        if least - slack <= low and high <= most + slack:
            return (least, most)
    allowed = "images in [-1, 1], [0, 1] or [0, 255]"
    raise InvalidValue("data", f"from {low:.3g} to {high:.3g}", allowed, "Do not standardize them")
