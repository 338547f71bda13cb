"""Ten seeds of 20,000 consensus steps on the ring, compiling included, beside ten hand-written loops."""

from __future__ import annotations

import tempfile
import time

import torch._inductor.utils

from benchmarks import contest
from benchmarks.row import Row
from benchmarks.timing import threads
from detente.games import presets
from detente.training.loop import train
from detente.training.run import Run

SEEDS, STEPS, TARGET = 10, 20_000, 0.30


def run(quick: bool) -> list[Row]:
    """Return our time as a share of the loops'; the loops' is extrapolated from a part, spread over the whole time."""
    part = 60 if quick else 400  # loop steps timed before, between and after our pieces
    pieces = 2 if quick else 20
    with threads(1), tempfile.TemporaryDirectory() as empty, torch._inductor.utils.fresh_inductor_cache(dir=empty):
        game = presets.ring()
        step = contest.loop(game, "consensus")
        job = Run(
            game, contest.method_of("consensus"), STEPS, tuple(range(SEEDS)), threads=1,
            record_every=STEPS // 20, measure_every=STEPS,
        )  # fmt: skip
        ours, taken, loops = 0.0, 0, [_seconds_a_step(step, part)]
        ticks = train(job)
        next(ticks)  # the tick before the first step, with its measurement
        first = 0.0
        for piece in range(pieces):
            began = time.perf_counter()
            taken = next(ticks).step
            spent = time.perf_counter() - began
            first = first or spent
            ours += spent
            if piece < pieces - 1 or quick:
                loops.append(_seconds_a_step(step, part))
        steady = (ours - first) / (taken - STEPS // 20)
        extrapolated = ours + steady * (STEPS - taken)
        loop = SEEDS * STEPS * sum(loops) / len(loops)
    said = f"; ours extrapolated from {taken} steps" if taken < STEPS else ""
    low, high = (extrapolated / (SEEDS * STEPS * each) for each in (max(loops), min(loops)))
    return [
        Row(
            "Ten seeds of 20,000 consensus steps, MLP 4×16, compiling included",
            extrapolated / loop, low, high, target=TARGET,
            detail=f"ten loops {loop:.0f} s (extrapolated from {part * len(loops)} steps), ours {extrapolated:.0f} s,"
            f" of which {first - steady * STEPS / 20:.0f} s before the first step{said}",
        )
    ]  # fmt: skip


def _seconds_a_step(step, count: int) -> float:  # noqa: ANN001
    step()
    began = time.perf_counter()
    for _ in range(count):
        step()
    return (time.perf_counter() - began) / count
