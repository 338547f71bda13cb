"""What makes a step cheaper without making it another step: arithmetic of fewer bits, a batch in parts."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from typing import Any, get_args

import torch

from detente.autodiff import accumulating
from detente.errors import InvalidValue, require, unknown
from detente.game import Game
from detente.methods.method import Method
from detente.modules.calling import Precision, computing_in


@dataclass(frozen=True)
class Economy:
    """How steps are made cheaper; what is measured of a game never is.

    Args:
        precision: of the networks' matrix products and convolutions; "bfloat16" takes half the memory, and less time
            where the device has it built in (a DCGAN's step on two cores with AMX: 0.95 of it, `make bench`; second
            derivatives gain nothing there). Losses, parameters and optimizers stay as they are.
        accumulate: in how many parts, ≥ 1, a batch is seen one after the other, whose gradients are averaged: about so
            many times less memory. A layer that mixes samples (BatchNorm) mixes those of a part only; a field that
            multiplies with the Jacobian, such as consensus, pays one gradient more for each player.
        channels_last: whether images lie in memory pixel by pixel, which convolutions on graphics processors like. On
            the processor that we measured on a DCGAN's step takes 1.04 of the time, and second derivatives (consensus)
            more: their closed forms want the usual order.
    """

    precision: Precision = "float32"
    accumulate: int = 1
    channels_last: bool = False

    def __post_init__(self) -> None:
        if self.precision not in get_args(Precision):
            raise unknown("precision", self.precision, get_args(Precision))
        require(self.accumulate >= 1, "accumulate", self.accumulate, "an integer ≥ 1")

    def check(self, game: Game, method: Method) -> None:
        """Raise `InvalidValue` where a game or a method does not allow it, naming what does not fit."""
        chosen = {name: given for name, given in asdict(self).items() if given != getattr(PLAIN, name)}
        if not chosen:
            return
        name = type(game).__name__
        for field in ("precision", "channels_last"):
            fits = field not in chosen or bool(getattr(game, "modules", None))
            require(fits, field, chosen.get(field), f"{getattr(PLAIN, field)!r} for {name}, which has no networks")
        allowed = f"1 … {game.batch}, the samples of a batch of {name}"
        require(self.accumulate <= game.batch, "accumulate", self.accumulate, allowed)
        if method.field.batches(game) > 1:  # it goes through the whole set, which is too long for a trial
            return
        for field, given in chosen.items():
            _try(game, method, field, given, size=game.batch // self.accumulate)

    @contextmanager
    def practised(self) -> Iterator[None]:
        """Steps taken within are made cheaper."""
        with computing_in(self.precision, self.channels_last), accumulating(self.accumulate):
            yield


PLAIN = Economy()


@torch.no_grad()
def _try(game: Game, method: Method, name: str, given: Any, size: int) -> None:
    """Evaluate the field on a few samples with one setting: it alone knows which derivatives it takes.

    Raises:
        InvalidValue: of the setting, called `name`, with the reason.
    """
    generator, size = torch.Generator().manual_seed(0), min(2, size)  # in each of two parts
    vectors, buffers = game.initial(generator)
    device = next(iter(vectors.values())).device  # the modules may be on another than the generator
    batch = {key: tensor.to(device) for key, tensor in game.draw(generator).items()}
    batch = game.dated(batch, torch.zeros((), dtype=torch.int64, device=device))
    few = {key: tensor[: 2 * size] if tensor.dim() else tensor for key, tensor in batch.items()}
    memory = method.field.initial(game, vectors, buffers)
    try:
        with replace(PLAIN, **{name: 2 if name == "accumulate" else given}).practised():
            method.field(game, vectors, buffers, few, memory, game.players)
    except InvalidValue as error:
        raise InvalidValue(name, given, error.allowed, error.hint) from error
    except Exception as error:  # BatchNorm refuses a part of one sample; a module calls `view` on channels-last images
        told = f"{getattr(PLAIN, name)!r}, or networks that take it"
        raise InvalidValue(name, given, told, str(error).partition("\n")[0]) from error
