"""The cache: where prepared sets are stored, and how one is opened."""

from __future__ import annotations

import json
import os
import tempfile
import uuid
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor

from detente.data.sources import SOURCES, named
from detente.errors import InvalidValue, require, unknown

ABOUT, LABELS = "about.json", "labels.npy"
STORES = {"images": "images.npy", "text": "ids.npy"}  # file of the samples, by kind


def cache() -> Path:
    """Return the folder of everything that is stored between runs: $DETENTE_CACHE, or ~/.cache/detente.

    Raises:
        InvalidValue: DETENTE_CACHE is not set and there is no home directory.
    """
    try:
        return Path(os.environ.get("DETENTE_CACHE") or Path.home() / ".cache" / "detente").expanduser()
    except RuntimeError as error:
        raise InvalidValue("DETENTE_CACHE", None, "a folder, since you have no home directory") from error


def require_writable(folder: Path) -> None:
    """Create a folder of the cache if it is missing, and raise `InvalidValue` if files cannot be written into it."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        hint = f"{error.strerror or error}. Set DETENTE_CACHE to a folder that can be written to"
        raise InvalidValue("cache", str(folder), "a folder that can be written to", hint) from error


def replace_file(path: Path, content: bytes) -> None:
    """Write a file so that readers see either the old content or the new, even if the process is killed."""
    temporary = path.with_name(f"{path.name}.{uuid.uuid4().hex}.tmp")
    try:
        with temporary.open("wb") as stream:
            stream.write(content)
            stream.flush()
            os.fsync(stream.fileno())
        os.replace(temporary, path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def sets(folder: str | Path | None = None) -> Path:
    """Return the folder of prepared sets: the given one, or the one in the cache."""
    return cache() / "sets" if folder is None else Path(folder).expanduser()


@dataclass(frozen=True)
class PreparedArrays:
    """The arrays of a prepared set.

    Args:
        about: content of `about.json`.
        samples: all samples, uint8, memory-mapped.
        labels: (N,) int64, -1 for a sample without a label, or None if no sample has one.
    """

    about: dict[str, Any]
    samples: np.memmap
    labels: Tensor | None

    def span(self, split: str | None) -> slice:
        """Return the rows of a split; None: all rows.

        Raises:
            InvalidValue: there is no such split.
        """
        splits = self.about["splits"]
        if split is None:
            return slice(0, len(self.samples))
        if split not in splits:
            raise unknown("split", split, splits)
        return slice(*splits[split])


def open_set(name: str, kind: str, folder: str | Path | None = None) -> PreparedArrays:
    """Open a prepared set, its samples memory-mapped.

    Args:
        name: as in `detente data list`; a size may follow, as in celeba-32.
        kind: what the set must hold, "images" or "text".
        folder: folder of prepared sets; None: the one in the cache.

    Raises:
        InvalidValue: an unknown name, or a set that is not prepared yet or damaged, with the command that prepares it.
    """
    place = sets(folder) / str(name)
    if not (place / ABOUT).is_file():
        named(name)  # raises if the name is unknown
        command = f"detente data prepare {name}" + (f", with DETENTE_CACHE={place.parents[1]}" if folder else "")
        raise InvalidValue("name", name, "a set that is prepared", f"Run once: {command}")
    try:
        about = json.loads((place / ABOUT).read_text(encoding="utf-8"))
        stored_kind = str(about["kind"])
        samples = cast(np.memmap, np.load(place / STORES[stored_kind], mmap_mode="r", allow_pickle=False))
        labels = torch.from_numpy(np.load(place / LABELS, allow_pickle=False)) if about["labelled"] else None
        matches = list(samples.shape) == about["shape"] and samples.dtype == np.uint8
        if not matches or labels is not None and labels.shape != (len(samples),):
            raise ValueError(f"arrays of another shape than {about['shape']}")
    except (OSError, ValueError, EOFError, KeyError) as error:
        hint = f"Run again: detente data prepare {name}. Error: {error}"
        raise InvalidValue("name", name, "a prepared set that is undamaged", hint) from error
    hint = "Use Text for text, Prepared for images"
    require(stored_kind == kind, "name", name, f"a set of {kind}; this is a set of {stored_kind}", hint)
    return PreparedArrays(about, samples, labels)


def prepared_names(folder: str | Path | None = None) -> list[str]:
    """Return the names of the prepared sets."""
    place = sets(folder)
    names = sorted(path.parent.name for path in place.glob(f"*/{ABOUT}")) if place.is_dir() else []
    return [name for name in names if name.partition("-")[0] in SOURCES and "." not in name]
