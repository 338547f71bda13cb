"""IDX files, as MNIST came in, and NPZ files."""

from __future__ import annotations

import gzip
import math
import re
import struct
import zipfile
import zlib
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import numpy as np

from detente.data.preparation.part import NO_LABEL, Part, Record, split_of, stamp_of
from detente.errors import InvalidValue, require

IDX = re.compile(r"images?[-._]idx3[-._]ubyte(\.gz)?$")  # how the name of a file of images ends
UBYTE = 8  # IDX's number for uint8
# Keys of NPZ files: split, samples, labels.
KEYS = (
    ("train", "x_train", ("y_train",)),
    ("test", "x_test", ("y_test",)),
    *(("train", samples, ("labels", "label", "y", "arr_1")) for samples in ("images", "samples", "x", "arr_0")),
)


def once(files: list[Path]) -> list[Path]:
    """Return IDX files, those that lie there packed (.gz) and unpacked only once: unpacked."""
    unpacked = {file for file in files if file.suffix != ".gz"}
    return [file for file in files if file in unpacked or file.with_suffix("") not in unpacked]


def idx_part(file: Path, top: Path, splits: tuple[str, ...]) -> Part:
    """Return the images of an IDX file, e.g. train-images-idx3-ubyte.gz, with the labels that lie beside it.

    Raises:
        InvalidValue: a file is not of that form, or cut short, or labels do not fit.
    """
    images = read_idx(file)
    require(images.ndim == 3, "source", f"{file}: {images.shape}", "images (N, H, W)")
    beside = re.sub(r"images?([-._])idx3", r"labels\1idx1", file.name).removesuffix(".gz")
    found = [name for name in (file.with_name(beside), file.with_name(f"{beside}.gz")) if name.is_file()][:1]
    return _part((file, *found), split_of(file, top, splits), images, read_idx(found[0]) if found else None)


def read_idx(file: Path) -> np.ndarray:
    """Return the array in an IDX file, packed or not.

    Raises:
        InvalidValue: the file is not of that form, or cut short.
    """
    try:
        content = gzip.decompress(file.read_bytes()) if file.suffix == ".gz" else file.read_bytes()
        zero, kind, axes = struct.unpack(">HBB", content[:4])
        if zero or kind != UBYTE:
            raise ValueError("another header than IDX's for uint8")
        shape = struct.unpack(f">{axes}I", content[4 : 4 + 4 * axes])
        if len(content) != 4 + 4 * axes + math.prod(shape):
            raise ValueError(f"{len(content)} bytes, where its header says {shape}")
    except (OSError, EOFError, ValueError, struct.error, zlib.error) as error:
        raise InvalidValue("source", str(file), "a whole IDX file of uint8", f"It says: {error}") from error
    return np.frombuffer(content, np.uint8, offset=4 + 4 * axes).reshape(shape)


def npz_parts(file: Path) -> list[Part]:
    """Return the images of an NPZ file: x_train, y_train, x_test, y_test, or images and labels.

    Raises:
        InvalidValue: the file cannot be read, or has other arrays.
    """
    parts: dict[str, Part] = {}
    try:
        with np.load(file, allow_pickle=False) as found:
            for split, samples, names in KEYS:
                if samples in found and split not in parts:
                    labels = [found[name] for name in names if name in found]
                    parts[split] = _part((file,), split, found[samples], labels[0] if labels else None)
            keys = ", ".join(found.files)
    except InvalidValue:
        raise
    except (OSError, EOFError, ValueError, zipfile.BadZipFile) as error:
        raise InvalidValue("source", str(file), "a readable NPZ file", f"It says: {error}") from error
    require(bool(parts), "source", f"{file} with {keys}", "arrays x_train, y_train, x_test, y_test, or images, labels")
    return list(parts.values())


def _part(files: tuple[Path, ...], split: str, images: np.ndarray, labels: np.ndarray | None) -> Part:
    channels = [axis for axis in (3, 1) if images.ndim == 4 and images.shape[axis] in (1, 3)]
    valid = images.dtype == np.uint8 and (images.ndim == 3 or bool(channels)) and 0 not in images.shape
    forms = "uint8 images (N, H, W), (N, H, W, C) or (N, C, H, W), of 1 or 3 channels"
    require(valid, "source", f"{files[0]}: {images.shape} {images.dtype}", forms)
    if channels and channels[0] == 1:
        images = images.transpose(0, 2, 3, 1)
    if labels is not None:
        labels = labels.reshape(-1)
        fits = len(labels) == len(images) and labels.dtype.kind in "iu"
        shown = f"{files[-1]}: labels {labels.shape} {labels.dtype}"
        require(fits, "source", shown, f"{len(images)} whole numbers, one for each image")
    return Part(split, len(images), f"{split} {stamp_of(*files)}", partial(_records, files[0], images, labels))


def _records(file: Path, images: np.ndarray, labels: np.ndarray | None, start: int) -> Iterator[Record]:
    for number in range(start, len(images)):
        yield Record(f"{file} image {number}", images[number], NO_LABEL if labels is None else int(labels[number]))
