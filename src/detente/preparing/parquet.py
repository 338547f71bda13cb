"""Parquet files as the Hugging Face hub has them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

from detente.data.sources import Source
from detente.errors import InvalidValue, require
from detente.preparing.part import NO_LABEL, Part, Record, split_of, stamp_of

ROWS = 256  # read at once


def parquet_part(file: Path, top: Path, source: Source) -> Part:
    """Return the rows of a file whose images are {bytes, path} and labels whole numbers, or whose samples are text.

    Args:
        file: path of the file.
        top: the folder that was given.
        source: the set, for the names of its columns and splits.

    Raises:
        InvalidValue: the file cannot be read, or lacks the columns.
    """
    with _opened(file) as opened:
        names = opened.schema_arrow.names
        hint = f"The hub's {source.hub} has {source.sample!r}" + (f" and {source.label!r}" if source.label else "")
        allowed = f"a file with a column {source.sample!r}"
        require(source.sample in names, "source", f"{file} with columns {', '.join(names)}", allowed, hint)
        columns = [source.sample, source.label] if source.label in names else [source.sample]
        # The hub writes a set's features into the schema.
        said = json.loads((opened.schema_arrow.metadata or {}).get(b"huggingface", b"{}"))
        feature = said.get("info", {}).get("features", {}).get(source.label, {})
        count, classes = opened.metadata.num_rows, tuple(feature.get("names", ()))
    read = partial(_rows, file, columns)
    return Part(split_of(file, top, tuple(source.splits)), count, stamp_of(file), read, classes)


def _rows(file: Path, columns: list[str], start: int) -> Iterator[Record]:
    with _opened(file) as opened:
        groups, row, first = [], 0, 0
        for group in range(opened.metadata.num_row_groups):  # groups that end before the start are not even read
            end = first + opened.metadata.row_group(group).num_rows
            if end > start:
                row = row if groups else first
                groups.append(group)
            first = end
        for batch in opened.iter_batches(ROWS, row_groups=groups, columns=columns):
            samples = batch.column(columns[0]).to_pylist()
            labels = batch.column(columns[1]).to_pylist() if len(columns) > 1 else [None] * len(samples)
            for sample, label in zip(samples, labels, strict=True):
                if row >= start:
                    yield record(f"{file} row {row}", sample, label)
                row += 1


def _opened(file: Path) -> Any:
    try:
        from pyarrow import ArrowException
        from pyarrow.parquet import ParquetFile
    except ModuleNotFoundError as error:
        hint = "Parquet needs pyarrow: pip install 'detente[data]'"
        raise InvalidValue("source", str(file), "image folders, IDX and NPZ files", hint) from error
    try:
        return ParquetFile(file)
    except (OSError, ArrowException) as error:
        raise InvalidValue("source", str(file), "a readable Parquet file", f"It says: {error}") from error


def record(where: str, sample: Any, label: int | None) -> Record:
    """Return a row of the hub: an image {bytes, path}, or text."""
    if isinstance(sample, dict):
        sample = sample["bytes"] if sample.get("bytes") is not None else Path(sample.get("path") or "")
    return Record(where, b"" if sample is None else sample, NO_LABEL if label is None else int(label))
