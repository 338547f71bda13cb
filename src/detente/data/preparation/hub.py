"""The Hugging Face hub, by way of `datasets`, which downloads once into its own cache."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Any

from detente.data.preparation.parquet import ROWS, record
from detente.data.preparation.part import Part, Record
from detente.data.sources import Source
from detente.errors import InvalidValue


def hub_parts(source: Source) -> list[Part]:
    """Return the splits of a set, downloaded from the hub by its name.

    Raises:
        InvalidValue: `datasets` is missing, or the hub cannot be reached or refuses.
    """
    package = f", or Debian's package: apt-get install {source.installed[1]}" if source.installed else ""
    local = f"--source PATH of its files{package}"
    try:
        import datasets  # pyright: ignore[reportMissingImports]
    except ModuleNotFoundError as error:
        hint = f"To download {source.hub} from the Hugging Face hub: pip install 'detente[data]'"
        raise InvalidValue("source", None, local, hint) from error
    loads = []
    for split in source.splits:
        try:
            loaded = datasets.load_dataset(source.hub, source.configuration, split=split)
        except Exception as error:  # no network, no such set, no permission: the library raises of every kind
            hint = f"{type(error).__name__}: {error}"
            allowed = f"a set of the Hugging Face hub that can be reached; or {local}"
            raise InvalidValue("source", f"{source.hub} ({split})", allowed, hint) from error
        classes = tuple(getattr(loaded.features.get(source.label), "names", None) or ())
        stamp = f"{source.hub} {split} {loaded.num_rows} {loaded.info.version}"
        loads.append((split, loaded, stamp, classes))
    names = sorted(set().union(*(_label_names(loaded, source) for _, loaded, _, _ in loads)))
    numbers = {name: number for number, name in enumerate(names)}
    return [
        Part(split, loaded.num_rows, stamp, partial(_rows, loaded, split, source, numbers), classes or tuple(names))
        for split, loaded, stamp, classes in loads
    ]


def _label_names(loaded: Any, source: Source) -> set[str]:
    """Return the different labels of a split that are text; nothing where they are numbers."""
    if source.label not in loaded.column_names or getattr(loaded.features[source.label], "dtype", "") != "string":
        return set()
    return {label for label in loaded.unique(source.label) if label is not None}


def _rows(loaded: Any, split: str, source: Source, numbers: dict[str, int], start: int) -> Iterator[Record]:
    import datasets  # pyright: ignore[reportMissingImports]

    labelled = source.label in loaded.column_names
    chosen = loaded.select_columns([source.sample, source.label] if labelled else [source.sample])
    if source.kind == "images":
        chosen = chosen.cast_column(source.sample, datasets.Image(decode=False))  # bytes, which we decode in threads
    row = start
    for batch in chosen.select(range(start, loaded.num_rows)).iter(batch_size=ROWS):
        labels = batch[source.label] if labelled else [None] * len(batch[source.sample])
        for sample, label in zip(batch[source.sample], labels, strict=True):
            yield record(f"{source.hub} {split} row {row}", sample, label, numbers)
            row += 1
