"""Job T: the ring, networks of width 128, alternating Adam, one thread; every library supports this job."""

from __future__ import annotations

import time
from functools import partial

from benchmarks import training_steps
from benchmarks.row import Row
from benchmarks.sizes import JOB_T
from benchmarks.timing import interleave, threads
from detente.data.gaussian_mixture import Ring
from detente.game import Game
from detente.games.adversarial import Adversarial
from detente.networks.mlp import MLP

RATE, BATCH, LATENT = JOB_T["rate"], JOB_T["batch"], JOB_T["latent"]
WIDTH, DEPTH = JOB_T["hidden"][0], len(JOB_T["hidden"])
TARGETS = {1: 1.6, 10: 2.2}  # by steps per graph: multiple of the loop's steps per second


def game(objective: str = "non_saturating") -> Game:
    """Return the game: generator 64-128-128-2, discriminator 2-128-128-1, leaky ReLU with slope 0.2."""
    network = partial(MLP, width=WIDTH, depth=DEPTH, activation="leaky_relu", negative_slope=0.2)
    return Adversarial(partial(network, LATENT, 2), partial(network, 2, 1), Ring(), LATENT, objective, batch=BATCH)


def run(quick: bool) -> list[Row]:
    """Return steps per second as multiples of the loop's: eager, and compiled with 1 and 10 steps per graph.

    The eager rows are of alternating and simultaneous steps, the compiled ones of alternating steps.
    """
    rows = []
    with threads(1):
        job_game = game()
        candidates = {
            "loop": training_steps.loop_step(job_game, "alternating", RATE),
            "eager": training_steps.detente_steps(job_game, "alternating", rate=RATE),
            "loop, simultaneous": training_steps.loop_step(job_game, "simultaneous", RATE),
            "eager, simultaneous": training_steps.detente_steps(job_game, "simultaneous", rate=RATE),
        }
        compile_seconds = {}
        for chunk in TARGETS:
            step = training_steps.detente_steps(job_game, "alternating", compiled=True, chunk=chunk, rate=RATE)
            start = time.perf_counter()
            step()
            compile_seconds[chunk] = time.perf_counter() - start
            candidates[f"{chunk}"] = step
        timing = interleave(candidates, rounds=11 if quick else 51)
        rate = 1 / timing.median("loop")
        for suffix in ("", ", simultaneous"):
            pair = f"eager{suffix}", f"loop{suffix}"
            detail = f"in processor time {timing.processor_ratio(*pair)} of the loop's"
            what = f"Eager{suffix}: multiple of the loop's steps per second"
            rows.append(Row.of(what, timing.ratio(*pair).inverse(), target=1, sense="at least", detail=detail))
        for chunk, target in TARGETS.items():
            ratio = timing.ratio(f"{chunk}", "loop").times(1 / chunk).inverse()
            rows.append(
                Row.of(
                    f"Compiled, {chunk} step{'s' * (chunk > 1)} a graph: multiple of the loop's steps per second",
                    ratio,
                    target=target,
                    sense="at least",
                    detail=f"loop {rate:.0f}/s, ours {chunk / timing.median(f'{chunk}'):.0f}/s;"
                    f" {compile_seconds[chunk]:.0f} s until the first step",
                )
            )
    return rows
