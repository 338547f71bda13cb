"""Compiled steps of the 4x16 networks of The Numerics of GANs, compared with the hand-written loops."""

from __future__ import annotations

import time

from benchmarks import training_steps
from benchmarks.row import Row, milliseconds
from benchmarks.timing import interleave, threads
from detente.games import presets

TARGET = 0.30


def run(quick: bool) -> list[Row]:
    """Return each method's time with one step per graph as a share of the loop's time, without compiling."""
    rows = []
    with threads(1):
        game = presets.ring()
        for kind in ("simultaneous", "consensus"):
            step = training_steps.detente_steps(game, kind, compiled=True)
            start = time.perf_counter()
            step()
            compile_seconds = time.perf_counter() - start
            timing = interleave(
                {"loop": training_steps.loop_step(game, kind), "ours": step}, rounds=11 if quick else 51
            )
            rows.append(
                Row.of(
                    f"MLP 4×16, batch 512, {kind}, compiled",
                    timing.ratio("ours", "loop"),
                    target=TARGET,
                    detail=f"loop {milliseconds(timing.median('loop'))}, ours {milliseconds(timing.median('ours'))};"
                    f" {compile_seconds:.0f} s until the first step",
                )
            )
    return rows
