"""A part of a set at its source: a file, or a split on the hub."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from detente.data.files import split_from_name

NO_LABEL = -1


@dataclass(frozen=True, eq=False)
class PartRecord:
    """One sample as stored by its source.

    Args:
        where: file, row or number of the sample, for error messages.
        content: an encoded image (bytes or the path of a file), pixels (H, W) or (H, W, C) uint8, or a line of text.
        label: label, at least 0, or -1 if there is none.
    """

    where: str
    content: bytes | Path | np.ndarray | str
    label: int = NO_LABEL


@dataclass(frozen=True, eq=False)
class Part:
    """Samples of one split in a fixed order, which can be read from any index on.

    Args:
        split: name of the split.
        count: number of samples.
        stamp: text that changes when the samples change; a preparation is only resumed if it is the same.
        read: function from an index to an iterator over the samples from this index on.
        class_names: names of the labels in their order, or empty.
    """

    split: str
    count: int
    stamp: str
    read: Callable[[int], Iterator[PartRecord]]
    class_names: tuple[str, ...] = ()


def stamp_of(*files: Path) -> str:
    """Return a text that changes when the files change."""
    return "; ".join(f"{file.resolve()} {file.stat().st_size} {file.stat().st_mtime_ns}" for file in files)


def split_name(word: str, splits: tuple[str, ...]) -> str | None:
    """Return the split that a word stands for, by the set's own name if it has one; None if it is not a split."""
    if word.lower() in splits:
        return word.lower()
    standard = split_from_name(word)
    return next((name for name in splits if standard is not None and split_from_name(name) == standard), standard)


def split_of(file: Path, top: Path, splits: tuple[str, ...]) -> str:
    """Return the split of a file, given by the first word of its name or by a parent folder; default: train."""
    first = file.name.replace(".", "-").replace("_", "-").partition("-")[0]
    words = [first, *reversed(file.relative_to(top).parts[:-1])] if file != top else [first]
    return next(filter(None, (split_name(word, splits) for word in words)), "train")
