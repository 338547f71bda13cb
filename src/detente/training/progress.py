"""Training progress of one seed."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from detente.deprecated import lookup
from detente.state import State
from detente.training.run import Run
from detente.training.step import state_to_device


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
    """

    seed: int
    state: State
    random: Tensor
    seconds: float = 0.0
    diverged_at: int | None = None
    cause: str = ""

    @property
    def step(self) -> int:
        """Number of steps so far."""
        return int(self.state.t)


def initial_progress(run: Run, seed: int) -> Progress:
    """Return the progress of one seed before its first step."""
    generator = torch.Generator().manual_seed(seed)
    state = state_to_device(run.method.initial(run.game, generator), run.device)
    return Progress(seed, state, generator.get_state())


__getattr__ = lookup(__name__)
