"""The cache of prepared sets: its folder, and functions to open a set."""

from __future__ import annotations

import json
import os
import tempfile
import uuid
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from detente.data.sources import SOURCES, named
from detente.errors import InvalidValue, require, unknown

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor

ABOUT, LABELS = "about.json", "labels.npy"
STORES = {"images": "images.npy", "text": "ids.npy"}  # file of the samples, by kind


def cache() -> Path:
    """Return the folder of all files that are stored between runs: $DETENTE_CACHE, or ~/.cache/detente.

    Raises:
        InvalidValue: DETENTE_CACHE is not set and there is no home directory.
    """
    try:
        return Path(os.environ.get("DETENTE_CACHE") or Path.home() / ".cache" / "detente").expanduser()
    except RuntimeError as error:
        raise InvalidValue("DETENTE_CACHE", None, "a folder, since you have no home directory") from error


def require_writable(folder: Path) -> None:
    """Create a folder of the cache if it is missing; raise `InvalidValue` if it is not writable."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        hint = f"{error.strerror or error}. Set DETENTE_CACHE to a writable folder"
        raise InvalidValue("cache", str(folder), "a writable folder", hint) from error


def replace_file(path: Path, content: bytes) -> None:
    """Replace a file atomically: readers see either the old or the new content, even if the process is killed."""
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
    """Return the folder of prepared sets: `folder`, or by default the one in the cache."""
    return cache() / "sets" if folder is None else Path(folder).expanduser()


@dataclass(frozen=True)
class PreparedArrays:
    """The arrays of a prepared set.

    Args:
        about: contents of `about.json`.
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
        name: a name from `detente data list`, optionally with a size, as in celeba-32.
        kind: required kind of the set, "images" or "text".
        folder: folder of prepared sets; None: the one in the cache.

    Raises:
        InvalidValue: the name is unknown, or the set is damaged or not prepared yet; the message contains the command
            that prepares it.
    """
    set_folder = sets(folder) / str(name)
    if not (set_folder / ABOUT).is_file():
        named(name)  # raises an error if the name is unknown
        command = f"detente data prepare {name}" + (f", with DETENTE_CACHE={set_folder.parents[1]}" if folder else "")
        raise InvalidValue("name", name, "a prepared set", f"Run once: {command}")
    import numpy as np  # here, because `detente data list` imports nothing slow
    import torch

    try:
        about = json.loads((set_folder / ABOUT).read_text(encoding="utf-8"))
        stored_kind = str(about["kind"])
        samples = cast("np.memmap", np.load(set_folder / STORES[stored_kind], mmap_mode="r", allow_pickle=False))
        labels = torch.from_numpy(np.load(set_folder / LABELS, allow_pickle=False)) if about["labelled"] else None
        matches = list(samples.shape) == about["shape"] and samples.dtype == np.uint8
        if not matches or labels is not None and labels.shape != (len(samples),):
            raise ValueError(f"the arrays do not have the shape {about['shape']}")
    except (OSError, ValueError, EOFError, KeyError) as error:
        hint = f"Run again: detente data prepare {name}. Error: {error}"
        raise InvalidValue("name", name, "an undamaged prepared set", hint) from error
    hint = "Use Text for text, Prepared for images"
    require(stored_kind == kind, "name", name, f"a set of {kind}; this is a set of {stored_kind}", hint)
    return PreparedArrays(about, samples, labels)


def prepared_names(folder: str | Path | None = None) -> list[str]:
    """Return the names of the prepared sets."""
    set_folder = sets(folder)
    names = sorted(path.parent.name for path in set_folder.glob(f"*/{ABOUT}")) if set_folder.is_dir() else []
    return [name for name in names if name.partition("-")[0] in SOURCES and "." not in name]
