"""Small sets in the formats of their sources, for the tests."""

from __future__ import annotations

import gzip
import io
import struct
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from detente.data.preparation.preparation import prepare
from detente.data.prepared import Prepared

CLASS_NAMES = ("airplane", "automobile", "bird")


def pictures(count: int, size: int = 8, channels: int = 3, seed: int = 0) -> np.ndarray:
    shape = (count, size, size, channels) if channels == 3 else (count, size, size)
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


def png(pixels: np.ndarray) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, "png")
    return stream.getvalue()


def image_table(images: np.ndarray, labels: Iterable | None = None, column: str = "image", classes=None) -> Any:
    """Return images as the hub stores them; needs the library `datasets`.

    Args:
        images: pixels.
        labels: numbers or text.
        column: name of the column of images.
        classes: names of the classes, if the labels are their numbers.
    """
    import datasets  # pyright: ignore[reportMissingImports]

    columns: dict = {column: [{"bytes": png(image), "path": f"{row}.png"} for row, image in enumerate(images)]}
    if labels is not None:
        columns["label"] = list(labels)
    table = datasets.Dataset.from_dict(columns).cast_column(column, datasets.Image())
    return table if classes is None else table.cast_column("label", datasets.ClassLabel(names=list(classes)))


def write_parquet(path: Path, table: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    table.to_parquet(str(path), batch_size=4)


def write_idx(path: Path, values: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    content = struct.pack(f">HBB{values.ndim}I", 0, 8, values.ndim, *values.shape) + values.tobytes()
    path.write_bytes(gzip.compress(content) if path.suffix == ".gz" else content)


def write_pictures(folder: Path, images: np.ndarray) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for number, pixels in enumerate(images):
        Image.fromarray(pixels).save(folder / f"{number:03}.png")


def prepare_set(name: str, source: Path | None, tmp_path: Path, **options) -> Path:
    """Prepare a set, and return the folder of sets."""
    assert list(prepare(name, source, folder=tmp_path / "sets", **options))
    return tmp_path / "sets"


def read_split(sets: Path, name: str, split: str | None) -> tuple[np.ndarray, list[int] | None]:
    """Return the stored images and labels of a split."""
    data = Prepared(name, split, folder=sets)
    return np.asarray(data.arrays[0]), None if data.labels is None else data.labels.tolist()
