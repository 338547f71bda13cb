"""Compiled steps of image GANs, compared with the hand-written loops."""

from __future__ import annotations

from benchmarks import training_steps
from benchmarks.row import Row, milliseconds
from benchmarks.shortcuts import sngan
from benchmarks.timing import interleave, threads
from detente.game import Game
from detente.games import presets

THREADS = 2
TARGETS = {"alternating": 0.85, "consensus": 0.75}


def games() -> dict[str, Game]:
    """Return the games by title, with the loss of the loops."""
    return {
        "DCGAN-28, width 32": presets.digits(width=32, batch=50),
        "SNGAN-32": sngan("non_saturating"),
    }


def run(quick: bool) -> list[Row]:
    """Return the times of compiled and of eager steps as shares of the loop's time, without compiling."""
    rows = []
    with threads(THREADS):
        for title, game in games().items():
            for kind, target in TARGETS.items():
                candidates = {
                    "loop": training_steps.loop_step(game, kind),
                    "eager": training_steps.detente_steps(game, kind),
                    "compiled": training_steps.detente_steps(game, kind, compiled=True),
                }
                timing = interleave(candidates, rounds=5 if quick else 21)
                rows.append(
                    Row.of(
                        f"{title}, {kind}, compiled",
                        timing.ratio("compiled", "loop"),
                        target=target,
                        detail=f"loop {milliseconds(timing.median('loop'))}; eager {timing.ratio('eager', 'loop')}; "
                        f"in processor time {timing.processor_ratio('compiled', 'loop')}",
                    )
                )
    return rows
