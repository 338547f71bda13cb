"""The origin of a set: the user's files, a Debian package, or the Hugging Face hub."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from detente.data.files import describe_files, files_below
from detente.data.pictures import image_suffixes
from detente.data.preparation.hugging_face import hub_parts, parquet_parts
from detente.data.preparation.local_files import (
    IDX_IMAGES,
    idx_part,
    image_parts,
    npz_parts,
    text_part,
    without_packed_copies,
)
from detente.data.preparation.part import Part
from detente.data.sources import Source
from detente.errors import InvalidValue, require

IMAGE_FORMATS = "Parquet files, IDX files (train-images-idx3-ubyte.gz), an NPZ file, or a folder of images"
TEXT_FORMATS = "Parquet or text files (.txt, one sample per line)"


def find_parts(source: Source, path: Path | None) -> tuple[str, list[Part]]:
    """Return a description of a set's origin, and its parts in the order of its splits.

    Args:
        source: the set.
        path: file or folder; None: the Debian package if it is installed, otherwise the hub.

    Raises:
        InvalidValue: there is no file in a known format, or the hub cannot be reached.
    """
    if path is None and source.installed and source.installed[0].is_dir():
        path = source.installed[0]
    if path is None:
        parts, origin = hub_parts(source), f"{source.hub} on the Hugging Face hub"
    else:
        require(path.exists(), "source", str(path), "a file or folder that exists")
        parts, origin = _local_parts(source, path), str(path.resolve())
    order = list(source.splits)
    parts = [part for part in parts if part.count]
    parts.sort(key=lambda part: order.index(part.split) if part.split in order else len(order))
    require(bool(parts), "source", origin, "at least one sample")
    return origin, parts


def _local_parts(source: Source, path: Path) -> list[Part]:
    """Return the parts in the files of the first format that any file has."""
    files = files_below(path) if path.is_dir() else [path]
    top, splits = path if path.is_dir() else path.parent, tuple(source.splits)
    # For each format: whether a file has it, and how to read the parts.
    formats: list[tuple[Callable[[Path], bool], Callable[[list[Path]], list[Part]]]] = [
        (lambda file: file.suffix == ".parquet", lambda files: parquet_parts(files, top, source)),
        (
            lambda file: bool(IDX_IMAGES.search(file.name)),
            lambda files: [idx_part(file, top, splits) for file in without_packed_copies(files)],
        ),
        (lambda file: file.suffix == ".npz", lambda files: [part for file in files for part in npz_parts(file)]),
        (lambda file: file.suffix.lower() in image_suffixes(), lambda files: image_parts(files, top, splits)),
    ]
    if source.kind == "text":
        formats[1:] = [
            (lambda file: file.suffix == ".txt", lambda files: [text_part(file, top, splits) for file in files])
        ]
    for matches, read_parts in formats:
        if matching := [file for file in files if matches(file)]:
            return read_parts(matching)
    hint = f"It contains {describe_files(files)}" if files else "It is empty"
    raise InvalidValue("source", str(path), TEXT_FORMATS if source.kind == "text" else IMAGE_FORMATS, hint)
