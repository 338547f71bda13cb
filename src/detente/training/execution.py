"""Select how the steps of a run are executed: eagerly, mapped over seeds, or compiled."""

from __future__ import annotations

import math
import shutil
from dataclasses import dataclass

import torch

from detente.deprecated import lookup
from detente.ranks import Ranks
from detente.training.distributed import everyones
from detente.training.run import Run
from detente.training.step import Steps

# Measured: compiling one step of the ring or of job T takes about 6 s and saves 1 to 2 ms of each step. Graphs of
# five steps are another third faster and take five times as long to compile. Mapping without compiling is no faster
# for fewer than about five seeds.
SMALL, WORTH_COMPILING, WORTH_A_CHUNK, CHUNK, WORTH_MAPPING = 300_000, 6_000, 300_000, 5, 5
AT_ONCE = 8  # compiled steps of job T, one after the other, take 0.85 of the time that they take between draws
WORTH_THE_WAIT = 20.0  # seconds of steps of all seeds that justify compiling


@dataclass(frozen=True)
class Execution:
    """How the steps of a run are executed."""

    steps: Steps
    threads: int
    seeds: int
    requested: bool  # whether compiled steps, or steps mapped over seeds, were selected
    ranks: int = 1
    at_once: int = 1  # number of graphs that run in a row

    @property
    def count(self) -> int:
        """Number of steps in a row: all their inputs are drawn before them, and their results checked after them."""
        return self.steps.chunk * (self.at_once if self.steps.compiled else 1)

    @property
    def fallback_reason(self) -> str:
        """Why steps run eagerly although compiled or mapped steps were selected; empty otherwise."""
        return self.steps.fallback_reason if self.requested else ""

    @property
    def description(self) -> str:
        """The execution as text."""
        chunk, threads = self.steps.chunk, self.threads
        parts = [f"compiled, {chunk} step{'s' * (chunk > 1)} per graph" if self.steps.compiled else "eager"]
        if self.steps.kernel_launches:
            parts.append(self.steps.kernel_launches)
        if self.seeds > 1:
            parts.append(f"{self.seeds} seeds {'at once' if self.steps.mapped else 'one after the other'}")
        if self.fallback_reason:
            parts.append(f"not compiled or mapped: {self.fallback_reason}")
        if self.ranks > 1:
            parts.append(f"{self.ranks} ranks")
        parts.append(f"{threads} thread{'s' * (threads > 1)}")
        return ", ".join(parts)


def choose_execution(run: Run, ranks: Ranks | None = None) -> Execution:
    """Return the fastest execution for a run; a resumed run gets the same one."""
    vectors, _ = run.game.initial(torch.Generator())
    small = sum(vector.numel() for vector in vectors.values()) <= SMALL
    # With a time limit the number of steps is unknown, so the time is compared with the time to compile.
    total_seconds = math.inf if run.seconds is None else run.seconds * len(run.seeds)
    total_steps = run.steps * len(run.seeds)
    worth_compiling = small and total_steps >= WORTH_COMPILING and total_seconds >= WORTH_THE_WAIT and _has_compiler()
    compiled = run.compile == "on" or (run.compile == "auto" and worth_compiling)
    mapped = small and (compiled or len(run.seeds) >= WORTH_MAPPING)
    # The chunk divides the steps between ticks, because a remainder would run eagerly.
    steps_between_ticks = math.gcd(run.every("record"), run.every("measure"), run.every("checkpoint"))
    worth_a_chunk = total_steps >= WORTH_A_CHUNK and total_seconds >= CHUNK * WORTH_THE_WAIT
    chunk = math.gcd(CHUNK, steps_between_ticks) if compiled and worth_a_chunk and not run.method.field.prepares else 1
    return Execution(
        Steps(run.game.with_settings(run.settings), run.method, chunk, compiled, mapped and len(run.seeds) > 1),
        run.threads or (1 if small else torch.get_num_threads()),
        len(run.seeds),
        compiled or (mapped and len(run.seeds) > 1),
        1 if ranks is None else ranks.count,
        # With a time limit or other ranks, the clock is read after each step; a field may prepare it.
        AT_ONCE if run.seconds is None and ranks is None and not run.method.field.prepares else 1,
    )


def agree_on_execution(execution: Execution, ranks: Ranks | None) -> None:
    """Let all ranks run eagerly if one of them, e.g. on a machine without a compiler, has selected something else."""
    steps = execution.steps
    selected = everyones((steps.compiled, steps.mapped, steps.chunk), ranks)
    for rank, other in enumerate(selected):
        if other != selected[0]:
            steps.compiled, steps.mapped, steps.chunk = False, False, 1
            steps.fallback_reason = f"rank {rank} cannot compile as rank 0 does"


def _has_compiler() -> bool:
    return any(shutil.which(name) for name in ("g++", "clang++", "c++"))


__getattr__ = lookup(__name__)
