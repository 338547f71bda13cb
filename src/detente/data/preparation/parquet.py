"""Parquet files as the Hugging Face hub has them."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from detente.data.preparation.part import NO_LABEL, Part, Record, split_of, stamp_of
from detente.data.sources import Source
from detente.errors import InvalidValue, require

ROWS = 256  # read at once


def parquet_parts(files: Sequence[Path], top: Path, source: Source) -> list[Part]:
    """Return the rows of files whose images are {bytes, path}, or whose samples are text, a part for each file.

    Labels are whole numbers, or names, which are numbered in the order of the alphabet over all files.

    Args:
        files: paths of the files.
        top: the folder that was given.
        source: the set, for the names of its columns and splits.

    Raises:
        InvalidValue: a file cannot be read, lacks the columns, or has labels of another kind.
    """
    names = sorted(set().union(*(_label_names(file, source) for file in files)))
    numbers = {name: number for number, name in enumerate(names)}
    return [_part(file, top, source, numbers) for file in files]


def _part(file: Path, top: Path, source: Source, numbers: dict[str, int]) -> Part:
    with _opened(file) as opened:
        names = opened.schema_arrow.names
        hint = f"The hub's {source.hub} has {source.sample!r}" + (f" and {source.label!r}" if source.label else "")
        allowed = f"a file with a column {source.sample!r}"
        require(source.sample in names, "source", f"{file} with columns {', '.join(names)}", allowed, hint)
        columns = [source.sample, source.label] if source.label in names else [source.sample]
        # The hub writes a set's features into the schema.
        said = json.loads((opened.schema_arrow.metadata or {}).get(b"huggingface", b"{}"))
        feature = said.get("info", {}).get("features", {}).get(source.label, {})
        count, classes = opened.metadata.num_rows, tuple(feature.get("names", ())) or tuple(numbers)
    read = partial(_rows, file, columns, numbers)
    return Part(split_of(file, top, tuple(source.splits)), count, stamp_of(file), read, classes)


def _label_names(file: Path, source: Source) -> set[str]:
    """Return the different labels of a file that are text; nothing where they are numbers.

    Raises:
        InvalidValue: they are neither.
    """
    with _opened(file) as opened:
        import pyarrow

        if source.label not in opened.schema_arrow.names:
            return set()
        kind = opened.schema_arrow.field(source.label).type
        kind = kind.value_type if pyarrow.types.is_dictionary(kind) else kind
        if pyarrow.types.is_string(kind) or pyarrow.types.is_large_string(kind):
            labels = opened.read(columns=[source.label]).column(0).unique().to_pylist()
            return {label for label in labels if label is not None}
        whole = pyarrow.types.is_integer(kind) or pyarrow.types.is_boolean(kind) or pyarrow.types.is_null(kind)
        shown, allowed = f"{file}, column {source.label!r} of {kind}", "labels that are whole numbers or text"
        require(whole or pyarrow.types.is_floating(kind), "source", shown, allowed)
    return set()


def _rows(file: Path, columns: list[str], numbers: dict[str, int], start: int) -> Iterator[Record]:
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
                    yield record(f"{file} row {row}", sample, label, numbers)
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


def record(where: str, sample: Any, label: Any, numbers: Mapping[str, int]) -> Record:
    """Return a row of the hub: an image {bytes, path}, or text, and its label, text as its number.

    Raises:
        InvalidValue: the label is neither text nor a whole number.
    """
    if isinstance(sample, dict):
        sample = sample["bytes"] if sample.get("bytes") is not None else Path(sample.get("path") or "")
    number = NO_LABEL if label is None else numbers.get(label, label) if isinstance(label, str) else label
    whole = not isinstance(number, str) and number == int(number) and number >= NO_LABEL
    require(whole, "source", f"{where} with label {label!r}", "labels that are whole numbers, at least 0, or text")
    return Record(where, b"" if sample is None else sample, int(number))
