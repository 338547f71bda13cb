"""A step of each game of examples/, through `detente.Networks`, against that of the ordinary hand-written loop.

Alternating Adam, one thread; both steps get the same batch. Tests check that both agree to 10⁻⁶.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

import detente
from benchmarks.games_by_hand import LOOPS
from benchmarks.row import Row, milliseconds
from benchmarks.timing import interleave, threads
from detente import methods

FOLDER = str(Path(__file__).parents[1] / "examples")
TARGET = 1.05


def example(name: str) -> Any:
    """Return a file of examples/ as a module."""
    sys.path[:] = [FOLDER, *(path for path in sys.path if path != FOLDER)]
    return importlib.import_module(name)


def steps(name: str, rate: float = 1e-3) -> tuple[Callable[[], object], Callable[[], object]]:
    """Return a step of an example's game, and the ordinary loop's, from the same parameters and on the same batch."""
    game = example(name).game()
    rates = dict.fromkeys(game.players, rate)
    stepper = detente.Stepper(game, methods.alternating(learning_rate=rates))
    modules = {key: part.train() if hasattr(part, "train") else part for key, part in stepper.modules().items()}
    by_hand, batch = LOOPS[name](modules, rates), game.draw(torch.Generator().manual_seed(0))
    return lambda: stepper.step(batch), lambda: by_hand(batch)


def run(quick: bool) -> list[Row]:
    """Return the processor time of a step in units of the loop's, by game; a busy machine changes it less."""
    rows = []
    with threads(1):
        for name in LOOPS:
            step, loop = steps(name)
            timing = interleave({"ours": step, "loop": loop}, rounds=11 if quick else 41)
            detail = f"loop {milliseconds(timing.median('loop'))}, ours {milliseconds(timing.median('ours'))};"
            detail += f" in wall-clock time {timing.ratio('ours', 'loop')}"
            rows.append(Row.of(name, timing.processor_ratio("ours", "loop"), target=TARGET, detail=detail))
    return rows
