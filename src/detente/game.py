"""A smooth game: every player MINIMISES its own loss; players are told apart by which vector is differentiated."""

from __future__ import annotations

from abc import ABC, abstractmethod

import torch
from torch import Tensor

Vectors = dict[str, Tensor]
Buffers = dict[str, dict[str, Tensor]]
Batch = dict[str, Tensor]


class Game(ABC):
    """Players, their losses, and where batches come from; it holds no parameter that training changes.

    `zero_sum` promises that the losses sum to zero; `traceable` that `losses` may be traced for compilation and
    mapped over seeds; `solution` is the equilibrium where it is known.
    """

    zero_sum: bool = False
    traceable: bool = True
    solution: Vectors | None = None

    @property
    @abstractmethod
    def players(self) -> tuple[str, ...]:
        """Names of the players, in the order in which the papers write them."""

    @abstractmethod
    def initial(self, generator: torch.Generator) -> tuple[Vectors, Buffers]:
        """Return where every player starts: vectors (n_i,) and module buffers."""

    @abstractmethod
    def losses(
        self, vectors: Vectors, buffers: Buffers, batch: Batch, players: tuple[str, ...] | None = None
    ) -> tuple[dict[str, Tensor], Buffers]:
        """Return the loss, (), of each of `players` (default: all) and the new buffers. Pure."""

    def draw(self, generator: torch.Generator) -> Batch:
        """Return one batch: every random number of one evaluation, by name."""
        del generator
        return {}

    def project(self, vectors: Vectors) -> Vectors:
        """Return the nearest allowed point; the whole space is allowed unless a game says otherwise."""
        return vectors
