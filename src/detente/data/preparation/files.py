"""Folders of image files, and files of text."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path

from detente.data.files import Layout
from detente.data.preparation.part import NO_LABEL, Part, Record, split_named, split_of, stamp_of


def image_parts(files: Sequence[Path], top: Path, splits: tuple[str, ...]) -> list[Part]:
    """Return the image files below a folder, a part for each split, in the order of their paths.

    What the folders mean says `detente.data.files.Layout`: splits, classes, both or neither. Without splits all is
    train.

    Raises:
        InvalidValue: only some folders are called like splits.
    """
    layout = Layout.of(top, files, "source")
    of = [split_named(split, splits) if split else "train" for split in layout.splits]
    labels = layout.labels or [NO_LABEL] * len(files)
    found = []
    for split in dict.fromkeys(of):
        chosen = [index for index, name in enumerate(of) if name == split]
        some, numbers = [files[index] for index in chosen], [labels[index] for index in chosen]
        stamp = hashlib.sha256(stamp_of(*some).encode()).hexdigest()
        found.append(Part(str(split), len(some), stamp, partial(_images, some, numbers), layout.classes))
    return found


def _images(files: Sequence[Path], labels: Sequence[int], start: int) -> Iterator[Record]:
    for file, label in zip(files[start:], labels[start:], strict=True):
        yield Record(str(file), file, label)


def text_part(file: Path, top: Path, splits: tuple[str, ...]) -> Part:
    """Return the lines of a text file, UTF-8."""
    return Part(split_of(file, top, splits), sum(1 for _ in _lines(file, 0)), stamp_of(file), partial(_lines, file))


def _lines(file: Path, start: int) -> Iterator[Record]:
    with file.open(encoding="utf-8", errors="replace", newline="\n") as stream:
        for number, line in enumerate(stream):
            if number >= start:
                yield Record(f"{file} line {number + 1}", line.rstrip("\r\n"))
