"""A training as typed data."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from detente.errors import InvalidValue, require
from detente.game import Game
from detente.method import Method
from detente.training.step import Compile


@dataclass(frozen=True)
class Run:
    """Everything that decides what a training does.

    Args:
        game: who plays, on what data; a name from `detente list games`.
        method: how they are trained; a name from `detente list methods` (command line: alternating by default).
        steps: how many steps each seed takes, ≥ 1.
        seeds: one training each, of everything random: initial parameters, batches, latents, noise.
        record_every: steps between two lines of the record; default about 200 lines.
        measure_every: steps between two measurements with samples; default about 20 measurements.
        checkpoint_every: steps between two checkpoints; default about 10 checkpoints.
        samples: how many generated samples a measurement looks at, ≥ 1.
        compile: compile the step: "on", "off", or "auto": on for many steps of small networks.
        device: where to train: "cpu", "cuda" or "cuda:1".
        threads: processor threads; default one for small networks, which more only slow down, else all.
    """

    game: Game
    method: Method
    steps: int = 2000
    seeds: tuple[int, ...] = (0,)
    record_every: int | None = None
    measure_every: int | None = None
    checkpoint_every: int | None = None
    samples: int = 2048
    compile: Compile = "auto"
    device: str = "cpu"
    threads: int | None = None

    def __post_init__(self) -> None:
        for name in ("steps", "samples"):
            require(getattr(self, name) >= 1, name, getattr(self, name), "an integer ≥ 1")
        for name in ("record_every", "measure_every", "checkpoint_every"):
            every = getattr(self, name)
            require(every is None or every >= 1, name, every, "an integer ≥ 1, or nothing for the default")
        require(self.threads is None or self.threads >= 1, "threads", self.threads, "an integer ≥ 1, or nothing")
        require(len(self.seeds) > 0, "seeds", self.seeds, "at least one integer ≥ 0")
        require(all(0 <= seed < 2**32 for seed in self.seeds), "seeds", self.seeds, "integers ≥ 0, below 2³²")
        require(len(set(self.seeds)) == len(self.seeds), "seeds", self.seeds, "each seed once")
        require(self.compile in ("auto", "on", "off"), "compile", self.compile, "'auto', 'on' or 'off'")
        self.method.check(self.game)
        _require_device(self.device)

    def every(self, what: str) -> int:
        """Return the steps between two of `what`: "record", "measure" or "checkpoint"."""
        chosen = getattr(self, f"{what}_every")
        return chosen or max(1, self.steps // {"record": 200, "measure": 20, "checkpoint": 10}[what])


def _require_device(device: str) -> None:
    allowed = "'cpu'" + ("".join(f", 'cuda:{i}'" for i in range(torch.cuda.device_count())))
    try:
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:
        raise InvalidValue("device", device, f"{allowed} on this machine") from error
