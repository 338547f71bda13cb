"""The cache: where prepared sets lie, and how one is opened."""

from __future__ import annotations

import json
import os
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor

from detente.data.sources import SOURCES, named
from detente.errors import InvalidValue, require, unknown

ABOUT, LABELS = "about.json", "labels.npy"
STORES = {"images": "images.npy", "text": "ids.npy"}  # by kind: the array of samples


def cache() -> Path:
    """Return the folder of everything that is kept between runs: $DETENTE_CACHE, or ~/.cache/detente.

    Raises:
        InvalidValue: neither is known.
    """
    try:
        return Path(os.environ.get("DETENTE_CACHE") or Path.home() / ".cache" / "detente").expanduser()
    except RuntimeError as error:
        raise InvalidValue("DETENTE_CACHE", None, "a folder, since you have no home directory") from error


def require_writable(folder: Path) -> None:
    """Raise `InvalidValue` unless files can be written into a folder of the cache, which is made if it is missing."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        hint = f"{error.strerror or error}. Let DETENTE_CACHE name a folder that can be written to"
        raise InvalidValue("cache", str(folder), "a folder that can be written to", hint) from error


def sets(folder: str | Path | None = None) -> Path:
    """Return the folder of prepared sets: the one given, or that of the cache."""
    return cache() / "sets" if folder is None else Path(folder).expanduser()


@dataclass(frozen=True)
class Opened:
    """A prepared set on the disk.

    Args:
        about: what `about.json` says.
        samples: the whole array, uint8, memory-mapped.
        labels: (N,) int64, -1 where a sample has none, or None where no sample has one.
    """

    about: dict[str, Any]
    samples: np.memmap
    labels: Tensor | None

    def span(self, split: str | None) -> slice:
        """Return the rows of a split, or of everything for None.

        Raises:
            InvalidValue: there is no such split.
        """
        splits = self.about["splits"]
        if split is None:
            return slice(0, len(self.samples))
        if split not in splits:
            raise unknown("split", split, splits)
        return slice(*splits[split])


def open_set(name: str, kind: str, folder: str | Path | None = None) -> Opened:
    """Return the prepared set of that name, its samples memory-mapped.

    Args:
        name: as in `detente data list`; a size may follow, as in celeba-32.
        kind: what the set must hold, "images" or "text".
        folder: of prepared sets; None: the cache's.

    Raises:
        InvalidValue: no such name, not prepared yet, or damaged: with the command that makes it.
    """
    place = sets(folder) / str(name)
    if not (place / ABOUT).is_file():
        named(name)  # an unknown name is told apart from a set that is not there yet
        command = f"detente data prepare {name}" + (f", with DETENTE_CACHE={place.parents[1]}" if folder else "")
        raise InvalidValue("name", name, "a set that is prepared", f"Run once: {command}")
    try:
        about = json.loads((place / ABOUT).read_text(encoding="utf-8"))
        found = str(about["kind"])
        samples = cast(np.memmap, np.load(place / STORES[found], mmap_mode="r", allow_pickle=False))
        labels = torch.from_numpy(np.load(place / LABELS, allow_pickle=False)) if about["labelled"] else None
        whole = list(samples.shape) == about["shape"] and samples.dtype == np.uint8
        if not whole or labels is not None and labels.shape != (len(samples),):
            raise ValueError(f"arrays of another shape than {about['shape']}")
    except (OSError, ValueError, EOFError, KeyError) as error:
        hint = f"Run again: detente data prepare {name}. It says: {error}"
        raise InvalidValue("name", name, "a prepared set that is whole", hint) from error
    hint = "Take Text for text, Prepared for images"
    require(found == kind, "name", name, f"a set of {kind}; this one is of {found}", hint)
    return Opened(about, samples, labels)


def prepared_names(folder: str | Path | None = None) -> list[str]:
    """Return the names of the sets that are prepared."""
    place = sets(folder)
    names = sorted(path.parent.name for path in place.glob(f"*/{ABOUT}")) if place.is_dir() else []
    return [name for name in names if name.partition("-")[0] in SOURCES and "." not in name]
