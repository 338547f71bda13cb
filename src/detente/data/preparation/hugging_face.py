"""Parquet files and data sets on the Hugging Face hub, both read with the `datasets` library."""

from __future__ import annotations

import glob
import logging
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from detente.data.preparation.part import NO_LABEL, Part, PartRecord, split_of, stamp_of
from detente.data.sources import Source
from detente.errors import InvalidValue, require

BATCH_ROWS = 256  # rows read at a time


@dataclass(frozen=True, eq=False)
class Table:
    """Rows with named columns: a Parquet file, or one split of a set on the hub.

    Args:
        name: name of the file or split in error messages.
        split: name of the split.
        count: number of rows.
        stamp: text that changes when the rows change.
        features: types of the columns, in the format of `datasets`.
        select: function from column names to a `datasets.Dataset` or `IterableDataset` with only these columns.
    """

    name: str
    split: str
    count: int
    stamp: str
    features: Mapping[str | None, Any]
    select: Callable[[list[str]], Any]


def hub_parts(source: Source) -> list[Part]:
    """Return the splits of a set on the hub, which is downloaded into the cache of `datasets`.

    Raises:
        InvalidValue: `datasets` is not installed; the hub cannot be reached or denies access; see `_parts`.
    """
    package = f", or Debian's package: apt-get install {source.installed[1]}" if source.installed else ""
    local = f"--source PATH of its files{package}"
    download = f"To download {source.hub} from the Hugging Face hub: pip install 'detente[data]'"
    datasets = _import_datasets(None, local, download)
    tables = []
    for split in source.splits:
        try:
            rows = datasets.load_dataset(source.hub, source.configuration, split=split)
        except Exception as error:  # the library raises errors of every type
            allowed = f"a reachable set on the Hugging Face hub; or {local}"
            raise InvalidValue("source", f"{source.hub} ({split})", allowed, _one_line(error)) from error
        stamp = f"{source.hub} {split} {rows.num_rows} {rows.info.version}"
        tables.append(Table(f"{source.hub} {split}", split, rows.num_rows, stamp, rows.features, rows.select_columns))
    return _parts(tables, source)


def parquet_parts(files: Sequence[Path], top: Path, source: Source) -> list[Part]:
    """Return Parquet files, one part per file.

    Args:
        files: paths of the files.
        top: the user's folder.
        source: the set, which names the columns and splits.

    Raises:
        InvalidValue: `datasets` is not installed; a file cannot be read; see `_parts`.
    """
    hint = "Parquet files need the library datasets: pip install 'detente[data]'"
    _import_datasets(str(files[0]), "image folders, IDX and NPZ files", hint)
    return _parts([_open_parquet(file, split_of(file, top, tuple(source.splits))) for file in files], source)


def _import_datasets(value: str | None, allowed: str, hint: str) -> Any:
    try:
        import datasets  # pyright: ignore[reportMissingImports]
    except ModuleNotFoundError as error:
        raise InvalidValue("source", value, allowed, hint) from error
    # The library logs errors in addition to raising them; the user should see each error only once.
    logging.getLogger("datasets.packaged_modules.parquet.parquet").setLevel(logging.CRITICAL)
    return datasets


def _open_parquet(file: Path, split: str) -> Table:
    try:
        from pyarrow.parquet import read_metadata

        count, features = read_metadata(file).num_rows, _read_parquet(file).features
    except Exception as error:  # the libraries raise errors of every type
        raise InvalidValue("source", str(file), "a readable Parquet file", _one_line(error)) from error
    return Table(str(file), split, count, stamp_of(file), features, partial(_read_parquet, file))


def _read_parquet(file: Path, columns: list[str] | None = None) -> Any:
    from datasets import IterableDataset  # pyright: ignore[reportMissingImports]

    # The library interprets a path as a pattern, and leaves a lock file in its cache for every file that it opens.
    with tempfile.TemporaryDirectory() as cache:
        return IterableDataset.from_parquet(glob.escape(str(file.absolute())), columns=columns, cache_dir=cache)


def _parts(tables: Sequence[Table], source: Source) -> list[Part]:
    """Return one part per table.

    Labels are integers or text. Text labels are numbered in alphabetical order over all tables.

    Raises:
        InvalidValue: a table has no column of samples, or its labels are neither integers nor text.
    """
    for table in tables:
        hint = f"The hub's {source.hub} has {source.sample!r}" + (f" and {source.label!r}" if source.label else "")
        columns = f"{table.name} with columns {', '.join(map(str, table.features))}"
        require(source.sample in table.features, "source", columns, f"a column {source.sample!r}", hint)
    names = sorted(set().union(*(_label_names(table, source) for table in tables)))
    numbers = {name: number for number, name in enumerate(names)}
    return [
        Part(
            table.split,
            table.count,
            table.stamp,
            partial(_records, table, source, numbers),
            tuple(getattr(table.features.get(source.label), "names", None) or names),
        )
        for table in tables
    ]


def _label_names(table: Table, source: Source) -> set[str]:
    """Return the text labels of a table; an empty set if its labels are numbers."""
    feature = table.features.get(source.label)
    if feature is None:
        return set()
    dtype = getattr(feature, "dtype", type(feature).__name__)
    if dtype in ("string", "large_string"):
        columns = [str(source.label)]
        return {label for batch in _batches(table, columns) for label in batch[columns[0]] if label is not None}
    shown = f"{table.name}, column {source.label!r} of {feature}"
    allowed = "labels that are integers or text"
    require(dtype.startswith(("int", "uint", "float", "bool", "null")), "source", shown, allowed)
    return set()


def _records(table: Table, source: Source, numbers: Mapping[str, int], start: int) -> Iterator[PartRecord]:
    labelled = source.label in table.features
    columns = [source.sample, str(source.label)] if labelled else [source.sample]
    row = start
    for batch in _batches(table, columns, start):
        samples = batch[source.sample]
        labels = batch[columns[1]] if labelled else [None] * len(samples)
        for sample, label in zip(samples, labels, strict=True):
            yield _record(f"{table.name} row {row}", sample, label, numbers)
            row += 1


def _batches(table: Table, columns: list[str], start: int = 0) -> Iterator[dict[str, list]]:
    """Yield the rows from `start` on in batches, as one list per column; images stay encoded."""
    row = start
    try:
        for batch in table.select(columns).skip(start).with_format("arrow").iter(batch_size=BATCH_ROWS):
            row += len(batch)
            yield batch.to_pydict()
    except Exception as error:  # the libraries raise errors of every type
        raise InvalidValue("source", table.name, "a readable table", _one_line(error)) from error
    require(row == table.count, "source", f"{table.name}: {row} rows", f"{table.count} rows, as its header says")


def _record(where: str, sample: Any, label: Any, numbers: Mapping[str, int]) -> PartRecord:
    """Return a row as a record.

    Args:
        where: name of the row in error messages.
        sample: an image as {bytes, path} or encoded bytes, or text.
        label: an integer, text, or None.
        numbers: the number of each text label.

    Raises:
        InvalidValue: the label is neither text nor an integer ≥ -1.
    """
    if isinstance(sample, dict):
        sample = sample["bytes"] if sample.get("bytes") is not None else Path(sample.get("path") or "")
    number = NO_LABEL if label is None else numbers.get(label, label) if isinstance(label, str) else label
    valid = not isinstance(number, str) and float(number).is_integer() and number >= NO_LABEL
    require(valid, "source", f"{where} with label {label!r}", "labels that are integers, at least 0, or text")
    return PartRecord(where, b"" if sample is None else sample, int(number))


def _one_line(error: Exception) -> str:
    return f"{type(error).__name__}: {' '.join(str(error).split())}"
