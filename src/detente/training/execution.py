"""Which way of carrying out its steps suits a run: eager, mapped over seeds, or compiled."""

from __future__ import annotations

import math
import shutil
from dataclasses import dataclass

import torch

from detente.training.run import Run
from detente.training.step import Steps

# Measured on the ring's 4×16 MLPs: compiling one step takes about twenty seconds and makes steps four times as fast;
# five steps a graph are a third faster still and take five times as long to compile. Mapped without compiling, steps
# gain nothing below some five seeds.
SMALL, WORTH_COMPILING, WORTH_A_CHUNK, CHUNK, WORTH_MAPPING = 300_000, 15_000, 300_000, 5, 5
WORTH_THE_WAIT = 60.0  # seconds of all seeds' steps that are worth the twenty before them


@dataclass(frozen=True)
class Execution:
    """How a run's steps are carried out."""

    steps: Steps
    threads: int
    seeds: int
    requested: bool  # whether steps were to be compiled, or mapped over several seeds

    @property
    def fallback_reason(self) -> str:
        """Why steps run eagerly that were to be compiled or mapped; empty if nothing fell back."""
        return self.steps.fallback_reason if self.requested else ""

    @property
    def words(self) -> str:
        """The same in words."""
        chunk, threads = self.steps.chunk, self.threads
        parts = [f"compiled, {chunk} step{'s' * (chunk > 1)} a graph" if self.steps.compiled else "eager"]
        if self.steps.launches:
            parts.append(self.steps.launches)
        if self.seeds > 1:
            parts.append(f"{self.seeds} seeds {'at once' if self.steps.mapped else 'one after the other'}")
        if self.fallback_reason:
            parts.append(f"not compiled or mapped: {self.fallback_reason}")
        parts.append(f"{threads} thread{'s' * (threads > 1)}")
        return ", ".join(parts)


def execution(run: Run) -> Execution:
    """Return how a run's steps are best carried out: the same for its second half as for all of it."""
    vectors, _ = run.game.initial(torch.Generator())
    small = sum(vector.numel() for vector in vectors.values()) <= SMALL
    # Where seconds end the run, how many steps there will be is not known: what compiling takes is weighed instead.
    spent = math.inf if run.seconds is None else run.seconds * len(run.seeds)
    total_steps = run.steps * len(run.seeds)
    worth = small and total_steps >= WORTH_COMPILING and spent >= WORTH_THE_WAIT and _compiler()
    compiled = run.compile == "on" or (run.compile == "auto" and worth)
    mapped = small and (compiled or len(run.seeds) >= WORTH_MAPPING)
    # Chunks end where ticks do: what is left over would run eagerly.
    ends = math.gcd(run.every("record"), run.every("measure"), run.every("checkpoint"))
    worth_a_chunk = total_steps >= WORTH_A_CHUNK and spent >= CHUNK * WORTH_THE_WAIT
    chunk = math.gcd(CHUNK, ends) if compiled and worth_a_chunk and not run.method.field.prepares else 1
    return Execution(
        Steps(run.game.with_settings(run.settings), run.method, chunk, compiled, mapped and len(run.seeds) > 1),
        run.threads or (1 if small else torch.get_num_threads()),
        len(run.seeds),
        compiled or (mapped and len(run.seeds) > 1),
    )


def _compiler() -> bool:
    return any(shutil.which(name) for name in ("g++", "clang++", "c++"))
