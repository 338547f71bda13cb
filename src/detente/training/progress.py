"""How far the training of one seed has come."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from detente.state import State
from detente.training.run import Run
from detente.training.step import state_to_device


@dataclass(frozen=True)
class Progress:
    """One seed's training so far: all that a checkpoint must hold.

    Args:
        seed: whose.
        state: where it stands.
        random: state of its random generator, uint8.
        seconds: time spent on its steps, measurements not counted.
        diverged_at: the first step with a loss or gradient that is no number, or None.
    """

    seed: int
    state: State
    random: Tensor
    seconds: float = 0.0
    diverged_at: int | None = None

    @property
    def step(self) -> int:
        """Number of steps taken."""
        return int(self.state.t)


def begin(run: Run, seed: int) -> Progress:
    """Return the training of one seed before its first step."""
    generator = torch.Generator().manual_seed(seed)
    state = state_to_device(run.method.initial(run.game, generator), run.device)
    return Progress(seed, state, generator.get_state())
