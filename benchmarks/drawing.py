"""Drawing batches from a prepared set far larger than it may take of the memory."""

from __future__ import annotations

import json
import shutil
import statistics
import tempfile
import time
from pathlib import Path

import numpy as np
import torch

from benchmarks.row import Row
from benchmarks.timing import threads
from detente.data.cache import ABOUT, STORES, cache
from detente.data.prepared import Prepared
from detente.errors import require

SHAPE, BATCH, BYTES = (3, 64, 64), 64, 10 * 10**9
THREADS, TIME, MEMORY = (1, 2), 1.0, 200.0  # targets: milliseconds, MB
BLOCK = 4096  # images written at once


def run(quick: bool) -> list[Row]:
    """Return the time of a batch on one thread and on two, and the memory that drawing takes beyond what there was."""
    count = BYTES // (10 if quick else 1) // int(np.prod(SHAPE))
    free, needed = shutil.disk_usage(Path.home()).free, count * int(np.prod(SHAPE))
    require(needed < free, "disk", f"{free / 1e9:.0f} GB free", f"{needed / 1e9:.0f} GB for the array drawn from")
    cache().mkdir(parents=True, exist_ok=True)
    size = f"{needed / 1e9:.0f} GB"
    with tempfile.TemporaryDirectory(dir=cache()) as folder:
        _write(Path(folder) / "celeba", count)
        data, before = Prepared("celeba", folder=folder), _resident()
        rows = [_times(data, size, count, 200 if quick else 2000) for count in THREADS]
        grown = _resident() - before
    told = f"the process holds {before:.0f} MB before it draws at all"
    what = f"resident memory that drawing from {size} adds, MB"
    return [*rows, Row(what, grown, grown, grown, target=MEMORY, detail=told)]


def _times(data: Prepared, size: str, count: int, draws: int) -> Row:
    generator, seconds = torch.Generator().manual_seed(0), []
    with threads(count):
        for _ in range(draws):
            began = time.perf_counter()
            data.draw(BATCH, generator)
            seconds.append(1e3 * (time.perf_counter() - began))
    low, median, high = statistics.quantiles(seconds, n=4)
    told = f"slowest of {draws:,}: {max(seconds):.1f} ms; what the system keeps of the file is not counted as memory"
    what = f"{BATCH} images of 64 × 64 from {size}, {count} thread{'s' * (count > 1)}, ms"
    return Row(what, median, low, high, target=TIME, detail=told)


def _write(place: Path, count: int) -> None:
    """Write a prepared set of noise."""
    place.mkdir()
    store = np.lib.format.open_memmap(place / STORES["images"], "w+", np.uint8, (count, *SHAPE))
    noise = np.random.default_rng(0).integers(0, 256, (BLOCK, *SHAPE), np.uint8)
    for start in range(0, count, BLOCK):
        store[start : start + BLOCK] = noise[: count - start]
    store.flush()
    about = {"kind": "images", "shape": [count, *SHAPE], "splits": {"train": [0, count]}, "labelled": False}
    (place / ABOUT).write_text(json.dumps({**about, "classes": []}), encoding="utf-8")


def _resident() -> float:
    """Return the memory that the process has resident now, in MB."""
    lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmRSS")) * 1024 / 1e6
