"""Preparing a set: every sample read once, cropped, resized and written into one array."""

from __future__ import annotations

import hashlib
import json
import math
import os
import shutil
from collections.abc import Generator, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import accumulate, pairwise
from pathlib import Path
from typing import Any

from detente.data.cache import ABOUT, STORES, sets
from detente.data.preparation.encoding import blocks, encoded, vocabulary_from
from detente.data.preparation.origin import origin
from detente.data.preparation.part import Part, Record
from detente.data.preparation.unfinished import Journal, Unfinished, checksum
from detente.data.sources import Source, named
from detente.errors import require

BLOCK = 512  # samples written at once
FORM = 1  # number of the form in which sets are stored: one more when it changes


@dataclass(frozen=True)
class Progress:
    """How far a preparation is.

    Args:
        done: samples read, those of an interrupted preparation included.
        total: samples to be read.
        skipped: broken samples left out.
        before: samples that an interrupted preparation had read.
    """

    done: int
    total: int
    skipped: int
    before: int


def prepare(
    name: str, path: Path | None = None, skip_broken: bool = False, folder: str | Path | None = None
) -> Generator[Progress, None, None]:
    """Make a set ready to be drawn from, yielding how far it is; nothing where it is ready already and undamaged.

    An interrupted preparation goes on where it stopped. The set appears at once when it is whole.

    Args:
        name: as in `detente.data.sources`; a size may follow, as in celeba-32.
        path: file or folder that the set comes from; None: its Debian package, else the Hugging Face hub.
        skip_broken: leave out samples that cannot be read, instead of stopping at the first.
        folder: of prepared sets; None: the cache's.

    Raises:
        InvalidValue: no such name; nothing to read there; a sample that cannot be read; a disk without room.
    """
    source, place = named(name), sets(folder) / name
    if path is None and damage(place) is None:
        return
    words, parts = origin(source, path)
    stamp = hashlib.sha256(json.dumps([FORM, name, _rule(source), [part.stamp for part in parts]]).encode()).hexdigest()
    if damage(place, stamp) is None:
        return
    unfinished, total = Unfinished(place, STORES[source.kind], source.shape, stamp), sum(part.count for part in parts)
    _check_room(unfinished.folder, total * (math.prod(source.shape) + 8))
    vocabulary = vocabulary_from(parts, source)
    with unfinished.open():
        before = unfinished.journal.done
        with ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as pool:
            for split, block in _blocks_from(parts, before):
                kept, skipped = [], []
                for record, values in zip(block, encoded(block, source, vocabulary, pool), strict=True):
                    if isinstance(values, Exception):
                        hint = f"--skip-broken leaves it out. It says: {values}"
                        require(skip_broken, "source", record.where, "a sample that can be read", hint)
                        skipped.append(record.where)
                    else:
                        kept.append((values, record.label))
                unfinished.append(split, [values for values, _ in kept], [label for _, label in kept], skipped)
                journal = unfinished.journal
                yield Progress(journal.done, total, len(journal.skipped), before)
        journal = unfinished.journal
        require(journal.rows > 0, "source", words, "at least one sample that can be read")
        unfinished.finish(_about(name, source, words, parts, vocabulary, journal))


def damage(place: Path, stamp: str | None = None) -> str | None:
    """Return in words why the set in a folder cannot be used, or None if it is whole: its checksums are those noted.

    Args:
        place: the folder.
        stamp: what the set must have been made from; None: anything.
    """
    try:
        about = json.loads((place / ABOUT).read_text(encoding="utf-8"))
        if stamp not in (None, about["stamp"]):
            return "it was made from something else"
        for file, noted in about["sha256"].items():
            if checksum(place / file) != noted:
                return f"{file} has another checksum than when it was made"
    except (OSError, ValueError, KeyError) as error:
        return f"{type(error).__name__}: {error}"
    return None


def _blocks_from(parts: Sequence[Part], start: int) -> Iterator[tuple[str, list[Record]]]:
    """Yield blocks of records with their split, from sample number `start` of all on."""
    for part in parts:
        for block in blocks(part.read(start), BLOCK) if start < part.count else ():
            yield part.split, block
        start = max(0, start - part.count)


def _check_room(folder: Path, needed: int) -> None:
    """Refuse to begin what the disk has no room for; what an interrupted preparation wrote is counted."""
    there = sum(file.stat().st_size for file in folder.iterdir()) if folder.is_dir() else 0
    free = there + shutil.disk_usage(next(path for path in (folder, *folder.parents) if path.exists())).free
    hint = f"There are {free / 1e9:.2f} GB. Let DETENTE_CACHE name a folder on another disk"
    require(needed <= free, "cache", str(folder.parent), f"a disk with {needed / 1e9:.2f} GB of room", hint)


def _rule(source: Source) -> dict[str, Any]:
    return {"kind": source.kind, "size": source.size, "channels": source.channels, "crop": source.crop}


def _about(
    name: str, source: Source, words: str, parts: Sequence[Part], vocabulary: Sequence[str], journal: Journal
) -> dict[str, Any]:
    ends = [0, *accumulate(journal.kept.values())]
    return {
        "name": name,
        "title": source.title,
        **_rule(source),
        "shape": [journal.rows, *source.shape],
        "splits": dict(zip(journal.kept, pairwise(ends), strict=True)),
        "classes": next((part.class_names for part in parts if part.class_names), source.classes),
        "vocabulary": vocabulary,
        "source": words,
        "paper": source.paper,
        "skipped": journal.skipped,
        "stamp": journal.stamp,
    }
