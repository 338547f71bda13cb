"""File formats that need no additional library: images, text, IDX and NPZ."""

from __future__ import annotations

import gzip
import hashlib
import math
import re
import struct
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path

import numpy as np

from detente.data.files import FolderLayout
from detente.data.preparation.part import NO_LABEL, Part, PartRecord, split_name, split_of, stamp_of
from detente.errors import InvalidValue, require

IDX_IMAGES = re.compile(r"images?[-._]idx3[-._]ubyte(\.gz)?$")  # end of the name of an IDX file with images
IDX_UINT8 = 8  # IDX's number for uint8
# Keys of NPZ files: split, samples, labels.
NPZ_KEYS = (
    ("train", "x_train", ("y_train",)),
    ("test", "x_test", ("y_test",)),
    *(("train", samples, ("labels", "label", "y", "arr_1")) for samples in ("images", "samples", "x", "arr_0")),
)


def image_parts(files: Sequence[Path], top: Path, splits: tuple[str, ...]) -> list[Part]:
    """Return the image files below a folder, sorted by path, as one part per split.

    `detente.data.files.FolderLayout` decides which folders are splits and which are classes. Without split folders, all
    images belong to train.

    Raises:
        InvalidValue: only some of the folders are named like splits.
    """
    layout = FolderLayout.of(top, files, "source")
    split_of_file = [split_name(split, splits) if split else "train" for split in layout.splits]
    labels = layout.labels or [NO_LABEL] * len(files)
    parts = []
    for split in dict.fromkeys(split_of_file):
        indices = [index for index, name in enumerate(split_of_file) if name == split]
        split_files, split_labels = [files[index] for index in indices], [labels[index] for index in indices]
        stamp = hashlib.sha256(stamp_of(*split_files).encode()).hexdigest()
        read = partial(_image_records, split_files, split_labels)
        parts.append(Part(str(split), len(split_files), stamp, read, layout.classes))
    return parts


def _image_records(files: Sequence[Path], labels: Sequence[int], start: int) -> Iterator[PartRecord]:
    for file, label in zip(files[start:], labels[start:], strict=True):
        yield PartRecord(str(file), file, label)


def text_part(file: Path, top: Path, splits: tuple[str, ...]) -> Part:
    """Return the lines of a UTF-8 text file."""
    count = sum(1 for _ in _line_records(file, 0))
    return Part(split_of(file, top, splits), count, stamp_of(file), partial(_line_records, file))


def _line_records(file: Path, start: int) -> Iterator[PartRecord]:
    with file.open(encoding="utf-8", errors="replace", newline="\n") as stream:
        for number, line in enumerate(stream):
            if number >= start:
                yield PartRecord(f"{file} line {number + 1}", line.rstrip("\r\n"))


def without_packed_copies(files: Sequence[Path]) -> list[Path]:
    """Return IDX files without compressed files (.gz) that also exist uncompressed."""
    unpacked = {file for file in files if file.suffix != ".gz"}
    return [file for file in files if file in unpacked or file.with_suffix("") not in unpacked]


def idx_part(file: Path, top: Path, splits: tuple[str, ...]) -> Part:
    """Return the images of an IDX file, e.g. train-images-idx3-ubyte.gz, with labels from its label file, if any.

    Raises:
        InvalidValue: a file has another format or is truncated, or the labels do not match the images.
    """
    images = read_idx(file)
    require(images.ndim == 3, "source", f"{file}: {images.shape}", "images (N, H, W)")
    label_name = re.sub(r"images?([-._])idx3", r"labels\1idx1", file.name).removesuffix(".gz")
    candidates = (file.with_name(label_name), file.with_name(f"{label_name}.gz"))
    label_file = next((candidate for candidate in candidates if candidate.is_file()), None)
    files, labels = ((file,), None) if label_file is None else ((file, label_file), read_idx(label_file))
    return _array_part(files, split_of(file, top, splits), images, labels)


def read_idx(file: Path) -> np.ndarray:
    """Return the array in an IDX file, compressed or not.

    Raises:
        InvalidValue: the file has another format or is truncated.
    """
    try:
        content = gzip.decompress(file.read_bytes()) if file.suffix == ".gz" else file.read_bytes()
        zero, dtype, axes = struct.unpack(">HBB", content[:4])
        if zero or dtype != IDX_UINT8:
            raise ValueError("the header is not that of an IDX file of uint8")
        shape = struct.unpack(f">{axes}I", content[4 : 4 + 4 * axes])
        if len(content) != 4 + 4 * axes + math.prod(shape):
            raise ValueError(f"{len(content)} bytes, but its header says {shape}")
    except (OSError, EOFError, ValueError, struct.error, zlib.error) as error:
        raise InvalidValue("source", str(file), "a complete IDX file of uint8", f"Error: {error}") from error
    return np.frombuffer(content, np.uint8, offset=4 + 4 * axes).reshape(shape)


def npz_parts(file: Path) -> list[Part]:
    """Return the images of an NPZ file: x_train, y_train, x_test, y_test, or images and labels.

    Raises:
        InvalidValue: the file cannot be read, or does not contain these arrays.
    """
    parts: dict[str, Part] = {}
    try:
        with np.load(file, allow_pickle=False) as arrays:
            for split, samples, label_keys in NPZ_KEYS:
                if samples in arrays and split not in parts:
                    labels = next((arrays[key] for key in label_keys if key in arrays), None)
                    parts[split] = _array_part((file,), split, arrays[samples], labels)
            keys = ", ".join(arrays.files)
    except InvalidValue:
        raise
    except (OSError, EOFError, ValueError, zipfile.BadZipFile) as error:
        raise InvalidValue("source", str(file), "a readable NPZ file", f"Error: {error}") from error
    require(bool(parts), "source", f"{file} with {keys}", "arrays x_train, y_train, x_test, y_test, or images, labels")
    return list(parts.values())


def _array_part(files: tuple[Path, ...], split: str, images: np.ndarray, labels: np.ndarray | None) -> Part:
    """Return images as a part; `files` are the file of the images and, if different, the file of the labels."""
    channel_axes = [axis for axis in (3, 1) if images.ndim == 4 and images.shape[axis] in (1, 3)]
    valid = images.dtype == np.uint8 and (images.ndim == 3 or bool(channel_axes)) and 0 not in images.shape
    allowed = "uint8 images (N, H, W), (N, H, W, C) or (N, C, H, W), with 1 or 3 channels"
    require(valid, "source", f"{files[0]}: {images.shape} {images.dtype}", allowed)
    if channel_axes and channel_axes[0] == 1:
        images = images.transpose(0, 2, 3, 1)
    if labels is not None:
        labels = labels.reshape(-1)
        valid = len(labels) == len(images) and labels.dtype.kind in "iu"
        shown = f"{files[-1]}: labels {labels.shape} {labels.dtype}"
        require(valid, "source", shown, f"{len(images)} integers, one for each image")
    read = partial(_array_records, files[0], images, labels)
    return Part(split, len(images), f"{split} {stamp_of(*files)}", read)


def _array_records(file: Path, images: np.ndarray, labels: np.ndarray | None, start: int) -> Iterator[PartRecord]:
    for number in range(start, len(images)):
        yield PartRecord(f"{file} image {number}", images[number], NO_LABEL if labels is None else int(labels[number]))
