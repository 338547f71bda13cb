"""A smooth game: every player MINIMISES its own loss; players are told apart by which vector is differentiated."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator

import torch
from torch import Tensor

from detente.errors import InvalidValue

Vectors = dict[str, Tensor]
Buffers = dict[str, dict[str, Tensor]]
Batch = dict[str, Tensor]


class Game(ABC):
    """Players, their losses, and where batches come from; it holds no parameter that training changes.

    `zero_sum` promises that the losses sum to zero; `traceable` that `losses` may be traced for compilation and
    mapped over seeds; `scheduled` that the losses depend on the step, which a batch then carries as "t", (); and
    `solution` is the equilibrium where it is known. `size` is the number of terms where the losses are finite sums,
    and `batch` how many of them a drawn batch has.
    """

    zero_sum: bool = False
    traceable: bool = True
    scheduled: bool = False
    solution: Vectors | None = None
    batch: int = 1

    @property
    def size(self) -> int | None:
        """Number of terms N where every loss is a fixed mean of N terms, else None."""
        return None

    @property
    def randomness(self) -> str:
        """What draws random numbers beside the samples, in words, so that no loss is a fixed mean; empty: nothing."""
        return ""

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

    def parts(self, count: int | None = None) -> Iterator[Batch]:
        """Yield all terms of a game of finite `size` once, `count` a batch (default: as many as a drawn batch has)."""
        del count
        raise InvalidValue("game", type(self).__name__, "a game whose losses are finite sums (a stored set of samples)")

    def dated(self, batch: Batch, t: Tensor) -> Batch:
        """Return a batch as the losses read it at step t, int64 (): with the step where they depend on it."""
        return {**batch, "t": t} if self.scheduled else batch

    def project(self, vectors: Vectors) -> Vectors:
        """Return the nearest allowed point; the whole space is allowed unless a game says otherwise."""
        return vectors
