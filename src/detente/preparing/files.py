"""Folders of image files, and files of text."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path

from detente.preparing.part import NO_LABEL, Part, Record, split_named, split_of, stamp_of


def image_parts(files: Sequence[Path], top: Path, splits: tuple[str, ...]) -> list[Part]:
    """Return the image files below a folder, a part for each split, in the order of their paths.

    Where every folder at the top has the name of a split, these are the splits; else all is train. Below, where every
    image lies in a sub-folder and there are at least two, these are the classes in the order of their names.
    """
    parts = {file: file.relative_to(top).parts for file in files}
    of = {file: split_named(names[0], splits) if len(names) > 1 else None for file, names in parts.items()}
    if None in of.values():
        of = dict.fromkeys(files, "train")
    else:
        parts = {file: names[1:] for file, names in parts.items()}
    classes = sorted({names[0] for names in parts.values() if len(names) > 1})
    if len(classes) < 2 or any(len(names) == 1 for names in parts.values()):
        classes = []
    numbers = {name: number for number, name in enumerate(classes)}
    found = []
    for split in dict.fromkeys(of.values()):
        chosen = [file for file in files if of[file] == split]
        labels = [numbers[parts[file][0]] if classes else NO_LABEL for file in chosen]
        stamp = hashlib.sha256(stamp_of(*chosen).encode()).hexdigest()
        found.append(Part(str(split), len(chosen), stamp, partial(_images, chosen, labels), tuple(classes)))
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
