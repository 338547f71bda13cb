"""Eager steps of the DCGAN for 28 by 28 pixels, compared with the hand-written loops."""

from __future__ import annotations

from collections.abc import Callable

from benchmarks import training_steps
from benchmarks.row import Row, milliseconds
from benchmarks.timing import interleave, threads
from detente.game import EvaluationSettings
from detente.games import presets

THREADS, BATCH = 2, 50
TARGETS = {"simultaneous": 1.0, "alternating": 1.0, "alternating_shared_batch": 1.0, "consensus": 0.9}
# Options that make steps cheaper; measured at width 64 with alternating gradient.
SETTINGS = {
    "channels last": EvaluationSettings(channels_last=True),
    "bfloat16": EvaluationSettings(precision="bfloat16"),
    "bfloat16, channels last": EvaluationSettings(precision="bfloat16", channels_last=True),
}
SETTINGS_TARGET = 0.9


def run(quick: bool) -> list[Row]:
    """Return the times at width 32 and 64, and with cheaper arithmetic, as shares of the float32 loop's time."""
    rows = []
    with threads(THREADS):
        for width in (32, 64):
            game = presets.digits(width=width, batch=BATCH)
            for kind, target in TARGETS.items():
                name = f"DCGAN-28, width {width}, {kind}, eager"
                rows += _rows(
                    training_steps.loop_step(game, kind),
                    {name: training_steps.detente_steps(game, kind)},
                    target,
                    quick,
                )
        game = presets.digits(width=64, batch=BATCH)
        candidates = {
            f"DCGAN-28, width 64, alternating, eager, {name}": training_steps.detente_steps(
                game, "alternating", settings=settings
            )
            for name, settings in SETTINGS.items()
        }
        return rows + _rows(training_steps.loop_step(game, "alternating"), candidates, SETTINGS_TARGET, quick)


def _rows(loop: Callable[[], None], candidates: dict[str, Callable[[], None]], target: float, quick: bool) -> list[Row]:
    timing = interleave({"loop": loop, **candidates}, rounds=7 if quick else 31)
    return [
        Row.of(
            name,
            timing.ratio(name, "loop"),
            target=target,
            detail=f"loop {milliseconds(timing.median('loop'))}, ours {milliseconds(timing.median(name))}; "
            f"in processor time {timing.processor_ratio(name, 'loop')}",
        )
        for name in candidates
    ]
