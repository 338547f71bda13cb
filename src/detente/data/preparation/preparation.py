"""Preparation of a set: each sample is read once, cropped, resized and written into one array."""

from __future__ import annotations

import hashlib
import io
import itertools
import json
import math
import os
import shutil
from collections.abc import Generator, Iterable, Iterator, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, UnidentifiedImageError

from detente.data.cache import ABOUT, STORES, sets
from detente.data.letters import encode, vocabulary_of
from detente.data.pictures import DECODING_ERRORS, decode_image, pixels
from detente.data.preparation.origin import find_parts
from detente.data.preparation.part import Part, PartRecord
from detente.data.preparation.writer import Journal, SetWriter, checksum
from detente.data.sources import Source, named
from detente.errors import require

BLOCK = 512  # samples written at a time
DECODED_AT_ONCE = 32  # images that a thread decodes at a time
VOCABULARY_LINES = 100_000  # lines from which the vocabulary is computed
FORMAT_VERSION = 1  # version of the format of stored sets


@dataclass(frozen=True)
class Progress:
    """Progress of a preparation.

    Args:
        done: samples read, including those read before an interruption.
        total: samples in the source.
        skipped: number of broken samples that were skipped.
        before: samples read before an interruption.
    """

    done: int
    total: int
    skipped: int
    before: int


def prepare(
    name: str, path: Path | None = None, skip_broken: bool = False, folder: str | Path | None = None
) -> Generator[Progress, None, None]:
    """Prepare a set and yield the progress; without progress if it is already prepared and undamaged.

    An interrupted preparation is resumed. The set is moved to its folder when it is complete.

    Args:
        name: a name from `detente.data.sources`, optionally with a size, as in celeba-32.
        path: file or folder to read; None: the Debian package if it is installed, otherwise the Hugging Face hub.
        skip_broken: skip samples that cannot be read, instead of raising an error.
        folder: folder of prepared sets; None: the one in the cache.

    Raises:
        InvalidValue: the name is unknown, there is nothing to read, a sample cannot be read, or the disk is too full.
    """
    source, target = named(name), sets(folder) / name
    if path is None and damage(target) is None:
        return
    origin, parts = find_parts(source, path)
    identity = [FORMAT_VERSION, name, _settings(source), [part.stamp for part in parts]]
    stamp = hashlib.sha256(json.dumps(identity).encode()).hexdigest()
    if damage(target, stamp) is None:
        return
    writer, total = SetWriter(target, STORES[source.kind], source.shape, stamp), sum(part.count for part in parts)
    _require_space(writer.folder, total * (math.prod(source.shape) + 8))
    vocabulary = _vocabulary(parts, source)
    with writer.open():
        before = writer.journal.done
        with ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as pool:
            for split, block in _blocks(parts, before):
                samples, labels, skipped = [], [], []
                for record, sample in zip(block, _encode(block, source, vocabulary, pool), strict=True):
                    if isinstance(sample, Exception):
                        hint = f"Use --skip-broken to skip it. Error: {sample}"
                        require(skip_broken, "source", record.where, "a readable sample", hint)
                        skipped.append(record.where)
                    else:
                        samples.append(sample)
                        labels.append(record.label)
                writer.append(split, samples, labels, skipped)
                yield Progress(writer.journal.done, total, len(writer.journal.skipped), before)
        require(writer.journal.rows > 0, "source", origin, "at least one sample that can be read")
        writer.finish(_about(name, source, origin, parts, vocabulary, writer.journal))


def damage(folder: Path, stamp: str | None = None) -> str | None:
    """Return the reason why the set in a folder cannot be used, or None if its files have the recorded checksums.

    Args:
        folder: the folder of the set.
        stamp: required stamp of the set's source; None: any.
    """
    try:
        about = json.loads((folder / ABOUT).read_text(encoding="utf-8"))
        if stamp not in (None, about["stamp"]):
            return "it was created from another source"
        for file, recorded in about["sha256"].items():
            if checksum(folder / file) != recorded:
                return f"{file} has another checksum than when it was created"
    except (OSError, ValueError, KeyError) as error:
        return f"{type(error).__name__}: {error}"
    return None


def _blocks(parts: Sequence[Part], start: int) -> Iterator[tuple[str, list[PartRecord]]]:
    """Yield the records from index `start` on, in blocks of one split, with the name of the split."""
    for part in parts:
        if start < part.count:
            records = part.read(start)
            while block := list(itertools.islice(records, BLOCK)):
                yield part.split, block
        start = max(0, start - part.count)


def _encode(
    block: Sequence[PartRecord], source: Source, vocabulary: Sequence[str], pool: Executor
) -> Iterator[np.ndarray | Exception]:
    """Yield the stored form of each record, uint8, or the error if it cannot be read.

    Args:
        block: the records.
        source: the set, which determines crop and size.
        vocabulary: vocabulary of text; empty for images.
        pool: threads that decode images; Pillow releases the interpreter's lock while it decodes.
    """
    if source.kind == "text":
        yield from encode([str(record.content) for record in block], vocabulary, source.size)
    elif all(isinstance(record.content, np.ndarray) for record in block):
        yield from (_encode_image(record, source) for record in block)  # too little work for threads
    else:
        chunks = [block[start : start + DECODED_AT_ONCE] for start in range(0, len(block), DECODED_AT_ONCE)]
        for images in pool.map(lambda chunk: [_encode_image(record, source) for record in chunk], chunks):
            yield from images


def _encode_image(record: PartRecord, source: Source) -> np.ndarray | Exception:
    """Return an image, (C, H, W) uint8, or the error if it cannot be read."""
    content = record.content
    try:
        if isinstance(content, np.ndarray):
            image = content[..., None] if content.ndim == 2 else content
            if image.shape != (source.size, source.size, source.channels) or source.crop:
                image = pixels(Image.fromarray(content.squeeze()), source.channels, source.size, source.crop)
        else:
            file = content if isinstance(content, Path) else io.BytesIO(content if isinstance(content, bytes) else b"")
            image = decode_image(file, source.channels, source.size, source.crop)
        return image.transpose(2, 0, 1)
    except UnidentifiedImageError:
        return ValueError("unknown image format")
    except DECODING_ERRORS as error:
        return error


def _vocabulary(parts: Sequence[Part], source: Source) -> tuple[str, ...]:
    """Return the vocabulary of the first 100,000 lines of text; empty for images."""
    if source.kind != "text":
        return ()
    records: Iterable[PartRecord] = itertools.chain.from_iterable(part.read(0) for part in parts)
    lines = (str(record.content)[: source.size] for record in itertools.islice(records, VOCABULARY_LINES))
    return vocabulary_of(lines)


def _require_space(folder: Path, size: int) -> None:
    """Raise `InvalidValue` unless the disk has space for `size` bytes, including those already in `folder`."""
    on_disk = sum(file.stat().st_size for file in folder.iterdir()) if folder.is_dir() else 0
    existing = next(path for path in (folder, *folder.parents) if path.exists())
    available = on_disk + shutil.disk_usage(existing).free
    hint = f"{available / 1e9:.2f} GB are free. Set DETENTE_CACHE to a folder on another disk"
    require(size <= available, "cache", str(folder.parent), f"a disk with {size / 1e9:.2f} GB of free space", hint)


def _settings(source: Source) -> dict[str, Any]:
    return {"kind": source.kind, "size": source.size, "channels": source.channels, "crop": source.crop}


def _about(
    name: str, source: Source, origin: str, parts: Sequence[Part], vocabulary: Sequence[str], journal: Journal
) -> dict[str, Any]:
    """Return the description of a set for its `about.json`."""
    boundaries = [0, *itertools.accumulate(journal.rows_by_split.values())]
    return {
        "name": name,
        "title": source.title,
        **_settings(source),
        "shape": [journal.rows, *source.shape],
        "splits": dict(zip(journal.rows_by_split, itertools.pairwise(boundaries), strict=True)),
        "classes": next((part.class_names for part in parts if part.class_names), source.classes),
        "vocabulary": vocabulary,
        "source": origin,
        "paper": source.paper,
        "skipped": journal.skipped,
        "stamp": journal.stamp,
    }
