"""What a user would write instead of a command: `python -m benchmarks.whole_job_scripts JOB STEPS SEEDS loop|jax FILE`.

The last line of a loop's output are the seconds of a step.
"""

from __future__ import annotations

import math
import sys
import time

from benchmarks.sizes import JOB_T, RING


def loop(job: str, steps: int, seeds: int, file: str) -> None:
    """Train one seed after the other by the hand-written loop, and write the modules."""
    import torch
    from torch import nn

    from benchmarks import loops

    torch.set_num_threads(1)
    sizes, activation = (JOB_T, nn.LeakyReLU(0.2)) if job == "job_t" else (RING, nn.ReLU())
    angles = 2 * math.pi * (torch.arange(sizes["batch"]) % 8) / 8
    centres = torch.stack([angles.cos(), angles.sin()], 1)

    def network(inputs: int, outputs: int) -> nn.Module:
        widths, layers = [inputs, *sizes["hidden"]], []
        for before, after in zip(widths[:-1], widths[1:], strict=True):
            layers += [nn.Linear(before, after), activation]
        return nn.Sequential(*layers, nn.Linear(widths[-1], outputs))

    saved, seconds = [], 0.0
    for seed in range(seeds):
        torch.manual_seed(seed)
        modules = network(sizes["latent"], 2), network(2, 1)
        if job == "sgan":
            from benchmarks.sgan import loop_step
            from detente.games.presets import ring

            step = loop_step(ring())
        else:
            draw = lambda: centres + 0.01 * torch.randn(centres.shape)  # noqa: E731
            kind = loops.alternating if job == "job_t" else loops.consensus
            step = kind(*modules, draw, sizes["latent"], sizes["rate"])
        start = time.perf_counter()
        for _ in range(steps):
            step()
        seconds += time.perf_counter() - start
        saved.append([module.state_dict() for module in modules])
    torch.save(saved, file)
    print(seconds / (steps * seeds))


def jax(job: str, steps: int, seeds: int, file: str) -> None:
    """Train by JAX, all steps in one scan, and write the parameters."""
    import numpy
    from jax import tree

    from benchmarks import peers_jax

    call = peers_jax.adam(steps)[0] if job == "job_t" else peers_jax.consensus_seeds(steps, seeds)
    numpy.savez(file, *tree.leaves(call()))


if __name__ == "__main__":
    job, steps, seeds, kind, file = sys.argv[1:]
    {"loop": loop, "jax": jax}[kind](job, int(steps), int(seeds), file)
