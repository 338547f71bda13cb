"""Python calls and allocations of tensors in an eager step; other work on the machine does not change them.

The networks are those of job T. Calls are those of Python functions and of built-in ones, as cProfile counts them;
allocations are those that torch's profiler sees.
"""

from __future__ import annotations

import cProfile
import pstats
from collections.abc import Callable
from typing import Any

import torch
from torch.profiler import ProfilerActivity, profile

from benchmarks import job_t, training_steps
from benchmarks.loops import LOOPS
from benchmarks.row import Row
from benchmarks.timing import threads
from detente import methods
from detente.data.arrays import Arrays
from detente.game import Game
from detente.games.adversarial import Adversarial
from detente.methods.method import Method
from detente.optimizers.adam import Adam
from detente.training.step import Steps, draw

METHODS = ("alternating", "simultaneous", "extragradient", "consensus", "svrg")
WARM_UP = 3


def calls(step: Callable[[], object], count: int = 20) -> float:
    """Return the number of calls in a step."""
    for _ in range(WARM_UP):
        step()
    profiler = cProfile.Profile()
    profiler.enable()
    for _ in range(count):
        step()
    profiler.disable()
    return pstats.Stats(profiler).total_calls / count  # pyright: ignore[reportAttributeAccessIssue]


def allocations(step: Callable[[], object], count: int = 5) -> float:
    """Return the number of allocations in a step."""
    for _ in range(WARM_UP):
        step()
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as profiler:
        for _ in range(count):
            step()
    events: Any = profiler.profiler.kineto_results.events()  # pyright: ignore[reportOptionalMemberAccess]
    return sum(event.name() == "[memory]" and event.nbytes() > 0 for event in events) / count


def steps_of(game: Game, method: Method) -> Callable[[], None]:
    """Return a step between two snapshots of a method that takes them."""
    generator = torch.Generator().manual_seed(0)
    state = method.prepare(game, method.initial(game, generator), generator)
    steps = Steps(game, method)

    def step() -> None:
        nonlocal state
        (state,), _ = steps([state], [[draw(game, method, state, generator)]], donate=True)

    return step


def step_of(name: str) -> Callable[[], None]:
    """Return a step of a method on the networks of job T."""
    method = methods.names()[name](optimizer=Adam(job_t.RATE, (0.5, 0.999)))
    game = job_t.game()
    if name == "svrg":  # on a stored set of points, each with its latent
        assert isinstance(game, Adversarial)
        points = game.data.draw(100 * job_t.BATCH, torch.Generator().manual_seed(0))["real"]
        game = game.changed(data=Arrays(points), fixed_latents=True)
    return steps_of(game, method)


def run(quick: bool) -> list[Row]:
    """Return the calls in a step, and in the details its allocations, and those of the hand-written loop."""
    del quick
    rows = []
    with threads(1):
        for name in METHODS:
            count, memory = calls(step_of(name)), allocations(step_of(name))
            detail = f"{memory:.0f} allocations"
            if name in LOOPS:
                loop = training_steps.loop_step(job_t.game(), name, job_t.RATE)
                detail += f"; the loop: {calls(loop):.0f} calls, {allocations(loop):.0f} allocations"
            rows.append(Row(f"{name}: Python calls in a step", count, count, count, detail=detail))
    return rows
