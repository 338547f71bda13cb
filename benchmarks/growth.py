"""How the time and memory of a step grow with width, batch, pairs, seeds, imagined steps and snapshots.

Each quantity has five values over two decades. The exponent is the slope of the least-squares line through the
logarithms; costs that do not depend on the quantity make it smaller than in theory, never larger.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch

from benchmarks.memory import peak_of_allocations
from benchmarks.row import Row, milliseconds
from benchmarks.timing import interleave, threads
from detente import methods
from detente.game import Game
from detente.games import presets
from detente.methods.method import Method
from detente.training.step import Steps, draw

DECADES = (1, 3, 10, 32, 100)
SLACK = 0.1


@dataclass(frozen=True)
class Growth:
    """A quantity with the exponents of theory.

    Args:
        what: name of the quantity.
        first: its smallest value; the largest is a hundred times that.
        game: returns the game for a value.
        method: returns the method for a value.
        time: exponent of the processor time of a step.
        memory: exponent of the memory that a step allocates at its peak.
        seeds: whether the value is the number of seeds, mapped.
    """

    what: str
    first: int
    game: Callable[[int], Game]
    method: Callable[[int], Method]
    time: float = 1
    memory: float = 1
    seeds: bool = False


def _small(_: int = 0) -> Game:
    return presets.ring(batch=64)


def _alternating(_: int) -> Method:
    return methods.alternating()


GROWTHS = (
    Growth("width of the networks", 8, lambda w: presets.ring(width=w, depth=2, batch=64), _alternating, 2, 2),
    Growth("batch", 16, lambda size: presets.ring(batch=size), _alternating),
    Growth("pairs of SGAN", 1, _small, lambda pairs: methods.sgan(pairs, messenger_steps=1)),
    Growth("seeds, mapped", 1, _small, _alternating, seeds=True),
    Growth("imagined steps of unrolled GANs", 1, _small, lambda steps: methods.unrolled(steps)),
    Growth(
        "points of a full-batch step", 64, lambda n: presets.ring(points=n, batch=64), lambda _: methods.full_batch()
    ),
    Growth(
        "points between snapshots of SVRG",
        64,
        lambda n: presets.ring(points=n, batch=64),
        lambda _: methods.svrg(),
        0,
        0,
    ),
)


def run(quick: bool) -> list[Row]:
    """Return the exponents of time and memory for each quantity."""
    rows = []
    with threads(1):
        for growth in GROWTHS:
            sizes = [growth.first * factor for factor in DECADES]
            steps = {str(size): _step(growth, size) for size in sizes}
            timing = interleave(steps, rounds=3 if quick else 11, warm_up=2)
            seconds = [statistics.median(timing.processor[str(size)]) for size in sizes]
            peaks = [peak_of_allocations(step) for step in steps.values()]
            what = f"{growth.what}, {sizes[0]:,} to {sizes[-1]:,}"
            detail = f"{milliseconds(seconds[0])} to {milliseconds(seconds[-1])}"
            rows.append(_row(f"time by {what}", sizes, seconds, growth.time, detail))
            detail = f"{peaks[0] / 2**20:.3g} to {peaks[-1] / 2**20:.3g} MiB"
            rows.append(_row(f"memory by {what}", sizes, peaks, growth.memory, detail))
    return rows


def _row(what: str, sizes: list[int], values: list[float] | list[int], theory: float, detail: str) -> Row:
    slope, error = exponent(sizes, values)
    return Row(what, slope, slope - error, slope + error, target=theory + SLACK, detail=detail)


def exponent(sizes: list[int], values: list[float] | list[int]) -> tuple[float, float]:
    """Return the slope of log value against log size, and its standard error."""
    x, y = np.log(sizes), np.log(values)
    (slope, offset), x_centred = np.polyfit(x, y, 1), x - x.mean()
    residuals = y - (slope * x + offset)
    return float(slope), math.sqrt(float(residuals @ residuals) / (len(x) - 2) / float(x_centred @ x_centred))


def _step(growth: Growth, size: int) -> Callable[[], None]:
    game, method = growth.game(size), growth.method(size)
    generators = [torch.Generator().manual_seed(seed) for seed in range(size if growth.seeds else 1)]
    states = [method.initial(game, generator) for generator in generators]
    steps = Steps(game, method, mapped=growth.seeds)

    def step() -> None:
        nonlocal states
        pairs = list(zip(states, generators, strict=True))
        states = [method.prepare(game, *pair) for pair in pairs]
        draws = [[draw(game, method, *pair)] for pair in zip(states, generators, strict=True)]
        states, _ = steps(states, draws, donate=True)

    return step
