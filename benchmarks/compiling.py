"""Seconds until the first compiled step, of job T and of every method on the ring, each in a new process."""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
import time

import torch

from benchmarks.row import Row
from detente import methods
from detente.errors import InvalidValue
from detente.games import presets

SLOWEST = 8.0


def run(quick: bool) -> list[Row]:
    """Return the seconds of job T, and the slowest of the methods on the ring, without compiled code on disk."""
    seconds = [_seconds("job_t", "alternating") for _ in range(1 if quick else 5)]
    low, _, high = statistics.quantiles(seconds, n=4) if len(seconds) > 1 else seconds * 3
    rows = [Row("job T, alternating: seconds", statistics.median(seconds), low, high, target=4.0)]
    names = ["alternating", "consensus", "sgan"] if quick else list(_compilable())
    by_method = {name: _seconds("ring", name) for name in names}
    slowest, low, *_ = sorted(by_method.values(), reverse=True)
    above = [f"{name} {value:.1f} s" for name, value in sorted(by_method.items(), key=lambda item: -item[1])]
    detail = f"median {statistics.median(by_method.values()):.1f} s; slowest: {', '.join(above[:8])}"
    rows.append(
        Row(f"slowest of {len(names)} methods on the ring: seconds", slowest, low, slowest, SLOWEST, detail=detail)
    )
    return rows


def _compilable() -> list[str]:
    """Return the methods that can train the ring and whose steps can be compiled."""
    names = []
    for name, method in methods.names().items():
        try:
            play = method()
            play.check(presets.ring())
        except (InvalidValue, TypeError):
            continue
        if play.traceable(presets.ring()):
            names.append(name)
    return names


def _seconds(game: str, method: str) -> float:
    with tempfile.TemporaryDirectory() as empty:
        folders = {name: empty for name in ("DETENTE_CACHE", "TMPDIR")}
        environment = {**os.environ, "OMP_NUM_THREADS": "1", **folders}
        command = [sys.executable, "-m", "benchmarks.compiling", game, method]
        completed = subprocess.run(command, env=environment, capture_output=True, text=True)
    if completed.returncode:
        raise RuntimeError(f"{method} on {game}: {completed.stderr.strip()[-300:]}")
    return float(completed.stdout.split()[-1])


def _first_step(game: str, method: str) -> float:
    from benchmarks import job_t
    from detente.training.step import Steps, draw

    torch.set_num_threads(1)
    played = job_t.game() if game == "job_t" else presets.ring()
    play, generator = methods.names()[method](), torch.Generator().manual_seed(0)
    state = play.initial(played, generator)
    state = play.prepare(played, state, generator)
    steps, step_draw = Steps(played, play, compiled=True), draw(played, play, state, generator)
    start = time.perf_counter()
    steps([state], [[step_draw]])
    seconds = time.perf_counter() - start
    if steps.fallback_reason:
        raise RuntimeError(steps.fallback_reason)
    return seconds


if __name__ == "__main__":
    print(_first_step(*sys.argv[1:]))
