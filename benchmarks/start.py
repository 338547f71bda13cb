"""Seconds until commands that do not train have finished, and until a training run of one step has."""

from __future__ import annotations

import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time

from benchmarks.row import Row

COMMAND = (sys.executable, "-m", "detente")
WRONG = ("--method", "consensus", "--method.learning_rate", "-1")
CANDIDATES = {  # measured commands, with exit status and target in seconds
    "import detente": ((sys.executable, "-c", "import detente"), 0, 0.1),
    "detente --help": ((*COMMAND, "--help"), 0, 0.5),
    "detente list": ((*COMMAND, "list"), 0, 0.5),
    "detente show --game ring": ((*COMMAND, "show", "--game", "ring"), 0, 0.5),
    "an unknown name": ((*COMMAND, "train", "--game", "rnig", "--out", "new"), 2, 0.5),
    "a learning rate below 0": ((*COMMAND, "train", "--game", "ring", *WRONG, "--out", "new"), 2, 0.5),
    "a run that exists": ((*COMMAND, "train", "--game", "ring", "--out", "run"), 2, 0.5),
    "detente train --game ring --steps 1": (
        (*COMMAND, "train", "--game", "ring", "--steps", "1", "--out", "run", "--overwrite"),
        0,
        4.0,
    ),
}


def run(quick: bool) -> list[Row]:
    """Return the seconds of each command, in interleaved rounds after one that is not counted."""
    wall: dict[str, list[float]] = {name: [] for name in CANDIDATES}
    processor: dict[str, list[float]] = {name: [] for name in CANDIDATES}
    with tempfile.TemporaryDirectory() as folder:
        _measure("detente train --game ring --steps 1", folder)  # makes `run`
        for counted in [False] + [True] * (5 if quick else 15):
            for name in CANDIDATES:
                seconds = _measure(name, folder)
                if counted:
                    wall[name].append(seconds[0])
                    processor[name].append(seconds[1])
    rows = []
    for name, (_, _, limit) in CANDIDATES.items():
        low, median, high = statistics.quantiles(wall[name], n=4)
        detail = f"{statistics.median(processor[name]):.2f} s of processor time"
        rows.append(Row(f"{name}: seconds", median, low, high, target=limit, detail=detail))
    return rows


def _measure(name: str, folder: str) -> tuple[float, float]:
    """Return the seconds of a command by the clock and of processor time."""
    command, status, _ = CANDIDATES[name]
    before, start = _processor(), time.perf_counter()
    completed = subprocess.run(command, cwd=folder, capture_output=True, env={**os.environ, "OMP_NUM_THREADS": "1"})
    seconds = time.perf_counter() - start
    if completed.returncode != status:
        raise RuntimeError(f"{name}: {completed.stderr.decode()[-300:]}")
    return seconds, _processor() - before


def _processor() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime
