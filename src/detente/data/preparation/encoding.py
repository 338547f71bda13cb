"""From a record to the numbers that are stored."""

from __future__ import annotations

import io
import itertools
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Executor
from pathlib import Path

import numpy as np
from PIL import Image, UnidentifiedImageError

from detente.data.letters import encode, vocabulary_of
from detente.data.pictures import BROKEN, decoded, pixels
from detente.data.preparation.part import Part, Record
from detente.data.sources import Source

PIECE = 32  # images that a thread decodes at a time
COUNTED = 100_000  # lines that decide the vocabulary


def blocks(records: Iterable[Record], count: int) -> Iterator[list[Record]]:
    """Yield the records, `count` at a time."""
    rest = iter(records)
    while block := list(itertools.islice(rest, count)):
        yield block


def encoded(
    block: Sequence[Record], source: Source, vocabulary: Sequence[str], pool: Executor
) -> Iterator[np.ndarray | Exception]:
    """Yield what is stored of each record, uint8, or what was wrong with it.

    Args:
        block: some records.
        source: the set, whose crop and size are kept.
        vocabulary: of text; else empty.
        pool: threads in which images are decoded, which Pillow does outside the interpreter's lock.
    """
    if source.kind == "text":
        yield from encode([str(record.content) for record in block], vocabulary, source.size)
    elif all(isinstance(record.content, np.ndarray) for record in block):
        yield from (_image(record, source) for record in block)  # quicker than handing them round
    else:
        pieces = [block[start : start + PIECE] for start in range(0, len(block), PIECE)]
        for images in pool.map(lambda piece: [_image(record, source) for record in piece], pieces):
            yield from images


def vocabulary_from(parts: Sequence[Part], source: Source) -> tuple[str, ...]:
    """Return the characters of text by their numbers, from the first 100,000 lines; of images, nothing."""
    if source.kind != "text":
        return ()
    records = itertools.chain.from_iterable(part.read(0) for part in parts)
    return vocabulary_of(str(record.content)[: source.size] for record in itertools.islice(records, COUNTED))


def _image(record: Record, source: Source) -> np.ndarray | Exception:
    """Return an image, (C, H, W) uint8."""
    content = record.content
    try:
        if isinstance(content, np.ndarray):
            found = content[..., None] if content.ndim == 2 else content
            if found.shape != (source.size, source.size, source.channels) or source.crop:
                found = pixels(Image.fromarray(content.squeeze()), source.channels, source.size, source.crop)
        else:
            file = content if isinstance(content, Path) else io.BytesIO(content if isinstance(content, bytes) else b"")
            found = decoded(file, source.channels, source.size, source.crop)
        return found.transpose(2, 0, 1)
    except UnidentifiedImageError:
        return ValueError("no image format that is known")
    except BROKEN as error:
        return error
