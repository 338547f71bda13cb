"""One part of a data set where it comes from: a file, or a split of the hub."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from detente.data.files import split_named as common_split

NO_LABEL = -1


@dataclass(frozen=True, eq=False)
class Record:
    """One sample as it is stored where it comes from.

    Args:
        where: file, row or number, as a person would look for it.
        content: an encoded image (bytes or the path of a file), pixels (H, W) or (H, W, C) uint8, or a line of text.
        label: at least 0, or -1 where there is none.
    """

    where: str
    content: bytes | Path | np.ndarray | str
    label: int = NO_LABEL


@dataclass(frozen=True, eq=False)
class Part:
    """A run of samples in a fixed order, all of one split, that can be read from any place on.

    Args:
        split: the split's name.
        count: number of samples.
        stamp: what changes when the samples do: an interrupted preparation goes on only where it is the same.
        read: yields the samples from a number on.
        class_names: names of the labels in their order, or empty.
    """

    split: str
    count: int
    stamp: str
    read: Callable[[int], Iterator[Record]]
    class_names: tuple[str, ...] = ()


def stamp_of(*files: Path) -> str:
    """Return what changes when files do."""
    return "; ".join(f"{file.resolve()} {file.stat().st_size} {file.stat().st_mtime_ns}" for file in files)


def split_named(word: str, splits: tuple[str, ...]) -> str | None:
    """Return the split that a word means, by the set's own name for it where it has one; else None."""
    if word.lower() in splits:
        return word.lower()
    common = common_split(word)
    return next((name for name in splits if common is not None and common_split(name) == common), common)


def split_of(file: Path, top: Path, splits: tuple[str, ...]) -> str:
    """Return the split of a file, by the first word of its name or the name of a folder above it; else train."""
    first = file.name.replace(".", "-").replace("_", "-").partition("-")[0]
    words = [first, *reversed(file.relative_to(top).parts[:-1])] if file != top else [first]
    return next(filter(None, (split_named(word, splits) for word in words)), "train")
