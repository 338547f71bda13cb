"""Where a set comes from: the files that were named, those of a Debian package, or the hub."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from detente.data.files import counted, files_below
from detente.data.pictures import suffixes
from detente.data.preparation.arrays import IDX, idx_part, npz_parts, once
from detente.data.preparation.files import image_parts, text_part
from detente.data.preparation.hub import hub_parts
from detente.data.preparation.parquet import parquet_parts
from detente.data.preparation.part import Part
from detente.data.sources import Source
from detente.errors import require

FORMS = "Parquet files, IDX files (train-images-idx3-ubyte.gz), an NPZ file, or a folder of images"
TEXT_FORMS = "Parquet or text files (.txt, a line a sample)"


def origin(source: Source, path: Path | None) -> tuple[str, list[Part]]:
    """Return in words where a set comes from, and its parts in the order of its splits.

    Args:
        source: the set.
        path: file or folder; None: the Debian package's where it is installed, else the hub.

    Raises:
        InvalidValue: there is nothing of a known form, or the hub cannot be had.
    """
    if path is None and source.installed and source.installed[0].is_dir():
        path = source.installed[0]
    if path is None:
        parts, place = hub_parts(source), f"{source.hub} on the Hugging Face hub"
    else:
        require(path.exists(), "source", str(path), "a file or folder that exists")
        parts, place = _local_parts(source, path), str(path.resolve())
    order = list(source.splits)
    parts = [part for part in parts if part.count]
    parts.sort(key=lambda part: order.index(part.split) if part.split in order else len(order))
    require(bool(parts), "source", place, "at least one sample")
    return place, parts


def _local_parts(source: Source, path: Path) -> list[Part]:
    """Return the parts of the first form that is found."""
    files = files_below(path) if path.is_dir() else [path]
    top, splits = path if path.is_dir() else path.parent, tuple(source.splits)
    forms: list[tuple[Callable[[Path], bool], Callable[[list[Path]], list[Part]]]] = [
        (lambda file: file.suffix == ".parquet", lambda some: parquet_parts(some, top, source)),
        (lambda file: bool(IDX.search(file.name)), lambda some: [idx_part(file, top, splits) for file in once(some)]),
        (lambda file: file.suffix == ".npz", lambda some: [part for file in some for part in npz_parts(file)]),
        (lambda file: file.suffix.lower() in suffixes(), lambda some: image_parts(some, top, splits)),
    ]
    if source.kind == "text":
        forms[1:] = [(lambda file: file.suffix == ".txt", lambda some: [text_part(file, top, splits) for file in some])]
    for fits, parts in forms:
        some = [file for file in files if fits(file)]
        if some:
            return parts(some)
    hint = f"It holds {counted(files)}" if files else "It is empty"
    require(False, "source", str(path), TEXT_FORMS if source.kind == "text" else FORMS, hint)
    return []
