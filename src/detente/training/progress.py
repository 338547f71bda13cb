"""Training progress of one seed."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from detente.deprecated import lookup
from detente.state import State
from detente.training.run import Run
from detente.training.step import state_to_device
from detente.training.warm_start import warm_started


@dataclass(frozen=True)
class Progress:
    """Training progress of one seed: everything that a checkpoint contains.

    Args:
        seed: the random seed.
        state: state of the training.
        random: state of the random generator, and the position in a stream of data if the game has one, uint8.
        seconds: time spent on steps (s), without measurements.
        diverged_at: first step with a loss or gradient that is not finite, or None.
        cause: the first term that was not finite then, and the layer; empty if the seed has not diverged.
        stopped_at: step of the measurement after which the seed stopped early, or None.
        best: best value so far of the metric that decides on early stopping, or None.
        waited: number of measurements since that value.
    """

    seed: int
    state: State
    random: Tensor
    seconds: float = 0.0
    diverged_at: int | None = None
    cause: str = ""
    stopped_at: int | None = None
    best: float | None = None
    waited: int = 0

    @property
    def active(self) -> bool:
        """Whether the seed is still trained: it has neither diverged nor stopped early."""
        return self.diverged_at is None and self.stopped_at is None

    @property
    def step(self) -> int:
        """Number of steps so far."""
        return int(self.state.t)


def initial_progress(run: Run, seed: int, warm_start: bool = True) -> Progress:
    """Return the progress of one seed before its first step.

    Args:
        run: the training run.
        seed: the random seed.
        warm_start: whether to read the parameters of the run's warm start; if not, they are the game's own.

    Raises:
        InvalidValue: the source of the warm start cannot be read, or has other tensors than the game.
    """
    generator = torch.Generator().manual_seed(seed)
    vectors, buffers = run.game.initial(generator)
    if warm_start and run.warm_start is not None:
        vectors, buffers = warm_started(run.warm_start, run.game, seed, vectors, buffers)
    state = state_to_device(run.method.beginning(run.game, vectors, buffers, generator), run.device)
    return Progress(seed, state, generator.get_state())


__getattr__ = lookup(__name__)
