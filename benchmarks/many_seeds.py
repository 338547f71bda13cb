"""Ten seeds of 20,000 consensus steps on the ring, including compiling, compared with ten hand-written loops."""

from __future__ import annotations

import tempfile
import time

import torch._inductor.utils

from benchmarks import training_steps
from benchmarks.row import Row
from benchmarks.timing import threads
from detente.games import presets
from detente.training.loop import train
from detente.training.run import Run

SEEDS, STEPS, TARGET = 10, 20_000, 0.30


def run(quick: bool) -> list[Row]:
    """Return détente's time as a share of the loops' time, extrapolated from steps spread over the measurement."""
    loop_steps = 60 if quick else 400  # loop steps timed before, between and after the pieces of the run
    pieces = 2 if quick else 20
    with threads(1), tempfile.TemporaryDirectory() as empty, torch._inductor.utils.fresh_inductor_cache(dir=empty):
        game = presets.ring()
        step = training_steps.loop_step(game, "consensus")
        training_run = Run(
            game,
            training_steps.method_of("consensus"),
            STEPS,
            tuple(range(SEEDS)),
            threads=1,
            record_every=STEPS // 20,
            measure_every=STEPS,
        )
        our_seconds, steps_done, loop_timings = 0.0, 0, [_seconds_per_step(step, loop_steps)]
        ticks = train(training_run)
        next(ticks)  # the tick before the first step, with its metrics
        first_seconds = 0.0
        for piece in range(pieces):
            start = time.perf_counter()
            steps_done = next(ticks).step
            seconds = time.perf_counter() - start
            first_seconds = first_seconds or seconds
            our_seconds += seconds
            if piece < pieces - 1 or quick:
                loop_timings.append(_seconds_per_step(step, loop_steps))
        seconds_per_step = (our_seconds - first_seconds) / (steps_done - STEPS // 20)
        total_seconds = our_seconds + seconds_per_step * (STEPS - steps_done)
        loop_seconds = SEEDS * STEPS * sum(loop_timings) / len(loop_timings)
    note = f"; ours extrapolated from {steps_done} steps" if steps_done < STEPS else ""
    low, high = (total_seconds / (SEEDS * STEPS * seconds) for seconds in (max(loop_timings), min(loop_timings)))
    return [
        Row(
            "Ten seeds of 20,000 consensus steps, MLP 4×16, compiling included",
            total_seconds / loop_seconds,
            low,
            high,
            target=TARGET,
            detail=f"ten loops {loop_seconds:.0f} s (extrapolated from {loop_steps * len(loop_timings)} steps),"
            f" ours {total_seconds:.0f} s, of which {first_seconds - seconds_per_step * STEPS / 20:.0f} s"
            f" before the first step{note}",
        )
    ]


def _seconds_per_step(step, count: int) -> float:  # noqa: ANN001
    step()
    start = time.perf_counter()
    for _ in range(count):
        step()
    return (time.perf_counter() - start) / count
