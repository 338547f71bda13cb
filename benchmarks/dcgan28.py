"""Eager steps of the DCGAN for 28 by 28 pixels, beside the hand-written loops."""

from __future__ import annotations

from benchmarks import contest
from benchmarks.row import Row, milliseconds
from benchmarks.timing import interleave, threads
from detente import standard_games

THREADS, BATCH = 2, 50
TARGETS = {"simultaneous": 1.0, "alternating": 1.0, "consensus": 0.9}


def run(quick: bool) -> list[Row]:
    """Return each method's time at width 32 and 64, as shares of the loop's."""
    rows = []
    with threads(THREADS):
        for width in (32, 64):
            game = standard_games.digits(width=width, batch=BATCH)
            for kind, target in TARGETS.items():
                candidates = {"loop": contest.loop(game, kind), "ours": contest.ours(game, kind)}
                timing = interleave(candidates, rounds=7 if quick else 31)
                loop, ours = milliseconds(timing.median("loop")), milliseconds(timing.median("ours"))
                rows.append(
                    Row.of(
                        f"DCGAN-28, width {width}, {kind}, eager",
                        timing.ratio("ours", "loop"),
                        target=target,
                        detail=f"loop {loop}, ours {ours}; in processor time {timing.processor_ratio('ours', 'loop')}",
                    )
                )
    return rows
