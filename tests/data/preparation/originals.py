"""Small sets in the forms that sets come in, for the tests."""

from __future__ import annotations

import gzip
import io
import json
import struct
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

NAMES = ("airplane", "automobile", "bird")


def pictures(count: int, size: int = 8, channels: int = 3, seed: int = 0) -> np.ndarray:
    shape = (count, size, size, channels) if channels == 3 else (count, size, size)
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


def png(pixels: np.ndarray) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, "png")
    return stream.getvalue()


def write_parquet(
    path: Path, images: list[bytes], labels: list[int] | None, column: str = "img", rows: int = 4
) -> None:
    """Write images as the hub does: a struct of bytes and path, a ClassLabel, the features in the schema's metadata."""
    fields = [pa.field(column, pa.struct([pa.field("bytes", pa.binary()), pa.field("path", pa.string())]))]
    features: dict = {column: {"_type": "Image"}}
    columns: list[list] = [[{"bytes": image, "path": f"{number}.png"} for number, image in enumerate(images)]]
    if labels is not None:
        fields.append(pa.field("label", pa.int64()))
        features["label"] = {"names": list(NAMES), "_type": "ClassLabel"}
        columns.append(labels)
    metadata = {"huggingface": json.dumps({"info": {"features": features}})}
    schema = pa.schema(fields, metadata=metadata)
    arrays = [pa.array(values, field.type) for values, field in zip(columns, fields, strict=True)]
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.table(arrays, schema=schema), path, row_group_size=rows)


def write_text_parquet(path: Path, lines: list[str]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.table({"text": lines}), path)


def write_idx(path: Path, values: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    content = struct.pack(f">HBB{values.ndim}I", 0, 8, values.ndim, *values.shape) + values.tobytes()
    path.write_bytes(gzip.compress(content) if path.suffix == ".gz" else content)


def write_pictures(folder: Path, images: np.ndarray) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for number, pixels in enumerate(images):
        Image.fromarray(pixels).save(folder / f"{number:03}.png")
