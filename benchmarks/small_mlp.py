"""Compiled steps of the 4x16 networks of The Numerics of GANs, beside the hand-written loops."""

from __future__ import annotations

import time

from benchmarks import contest
from benchmarks.row import Row, milliseconds
from benchmarks.timing import interleave, threads
from detente.games import presets

TARGET = 0.30


def run(quick: bool) -> list[Row]:
    """Return each method's time, one step a graph, as shares of the loop's; compiling is not counted here."""
    rows = []
    with threads(1):
        game = presets.ring()
        for kind in ("simultaneous", "consensus"):
            step = contest.ours(game, kind, compiled=True)
            began = time.perf_counter()
            step()
            compiling = time.perf_counter() - began
            timing = interleave({"loop": contest.loop(game, kind), "ours": step}, rounds=11 if quick else 51)
            rows.append(
                Row.of(
                    f"MLP 4×16, batch 512, {kind}, compiled",
                    timing.ratio("ours", "loop"),
                    target=TARGET,
                    detail=f"loop {milliseconds(timing.median('loop'))}, ours {milliseconds(timing.median('ours'))};"
                    f" {compiling:.0f} s until the first step",
                )
            )
    return rows
