"""What makes a step cheaper without making it another step: arithmetic of fewer bits, a batch in parts."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import get_args

import torch

from detente.derivatives import accumulating
from detente.errors import InvalidValue, require, unknown
from detente.game import Game
from detente.method import Method
from detente.modules import Precision, computing_in


@dataclass(frozen=True)
class Economy:
    """How steps are made cheaper; what is measured of a game never is.

    Args:
        precision: of the networks' matrix products and convolutions; "bfloat16" takes half the memory, and a fraction
            of the time where the device has it built in. Losses, parameters and optimizers stay as they are.
        accumulate: in how many parts, ≥ 1, a batch is seen one after the other, whose gradients are averaged: about so
            many times less memory. A layer that mixes samples (BatchNorm) mixes those of a part only; a field that
            multiplies with the Jacobian, such as consensus, pays one gradient more for each player.
    """

    precision: Precision = "float32"
    accumulate: int = 1

    def __post_init__(self) -> None:
        if self.precision not in get_args(Precision):
            raise unknown("precision", self.precision, get_args(Precision))
        require(self.accumulate >= 1, "accumulate", self.accumulate, "an integer ≥ 1")

    def check(self, game: Game, method: Method) -> None:
        """Raise `InvalidValue` where a game or a method does not allow it, naming what does not fit."""
        name = type(game).__name__
        fits = self.precision == "float32" or bool(getattr(game, "modules", None))
        require(fits, "precision", self.precision, f"'float32' for {name}, which has no networks")
        if self.accumulate == 1:
            return
        allowed = f"1 … {game.batch}, the samples of a batch of {name}"
        require(self.accumulate <= game.batch, "accumulate", self.accumulate, allowed)
        self._try(game, method)

    @contextmanager
    def practised(self) -> Iterator[None]:
        """Steps taken within are made cheaper."""
        with computing_in(self.precision), accumulating(self.accumulate):
            yield

    @torch.no_grad()
    def _try(self, game: Game, method: Method) -> None:
        """Evaluate the field on a few samples in two parts, since it alone knows which derivatives it takes."""
        if method.field.batches(game) > 1:  # it goes through the whole set, batch by batch
            return
        generator, size = torch.Generator().manual_seed(0), min(2, game.batch // self.accumulate)
        vectors, buffers = game.initial(generator)
        batch = game.dated(game.draw(generator), torch.zeros((), dtype=torch.int64))
        few = {name: tensor[: 2 * size] if tensor.dim() else tensor for name, tensor in batch.items()}
        memory = method.field.initial(game, vectors, buffers)
        try:
            with accumulating(2):
                method.field(game, vectors, buffers, few, memory, game.players)
        except InvalidValue as error:
            raise InvalidValue("accumulate", self.accumulate, error.allowed, error.hint) from error
        except Exception as error:  # BatchNorm refuses a part of one sample
            hint = str(error).partition("\n")[0]
            raise InvalidValue("accumulate", self.accumulate, "parts that the networks take", hint) from error
