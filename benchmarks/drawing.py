"""Drawing batches from a prepared set that is far larger than the memory it may use."""

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

SHAPE, BATCH, TOTAL_BYTES = (3, 64, 64), 64, 10 * 10**9
THREADS, TIME, MEMORY = (1, 2), 1.0, 200.0  # targets: milliseconds, MB
BLOCK = 4096  # images per write


def run(quick: bool) -> list[Row]:
    """Return the time of a batch on one and two threads, and the memory that drawing adds."""
    count = TOTAL_BYTES // (10 if quick else 1) // int(np.prod(SHAPE))
    free, needed = shutil.disk_usage(Path.home()).free, count * int(np.prod(SHAPE))
    require(needed < free, "disk", f"{free / 1e9:.0f} GB free", f"{needed / 1e9:.0f} GB for the array drawn from")
    cache().mkdir(parents=True, exist_ok=True)
    size = f"{needed / 1e9:.0f} GB"
    with tempfile.TemporaryDirectory(dir=cache()) as folder:
        _write(Path(folder) / "celeba", count)
        data, before = Prepared("celeba", folder=folder), _resident()
        rows = [_times(data, size, count, 200 if quick else 2000) for count in THREADS]
        added_memory = _resident() - before
    detail = f"the process holds {before:.0f} MB before it draws at all"
    title = f"resident memory that drawing from {size} adds, MB"
    return [*rows, Row(title, added_memory, added_memory, added_memory, target=MEMORY, detail=detail)]


def _times(data: Prepared, size: str, count: int, draws: int) -> Row:
    generator, times = torch.Generator().manual_seed(0), []
    with threads(count):
        for _ in range(draws):
            start = time.perf_counter()
            data.draw(BATCH, generator)
            times.append(1e3 * (time.perf_counter() - start))
    low, median, high = statistics.quantiles(times, n=4)
    detail = f"slowest of {draws:,}: {max(times):.1f} ms; what the system keeps of the file is not counted as memory"
    title = f"{BATCH} images of 64 × 64 from {size}, {count} thread{'s' * (count > 1)}, ms"
    return Row(title, median, low, high, target=TIME, detail=detail)


def _write(path: Path, count: int) -> None:
    """Write a prepared set of noise."""
    path.mkdir()
    store = np.lib.format.open_memmap(path / STORES["images"], "w+", np.uint8, (count, *SHAPE))
    noise = np.random.default_rng(0).integers(0, 256, (BLOCK, *SHAPE), np.uint8)
    for start in range(0, count, BLOCK):
        store[start : start + BLOCK] = noise[: count - start]
    store.flush()
    description = {"kind": "images", "shape": [count, *SHAPE], "splits": {"train": [0, count]}, "labelled": False}
    (path / ABOUT).write_text(json.dumps({**description, "classes": []}), encoding="utf-8")


def _resident() -> float:
    """Return the resident memory of the process in MB."""
    lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmRSS")) * 1024 / 1e6
