"""A smooth game: every player MINIMISES its own loss; players are told apart by which vector is differentiated."""

from __future__ import annotations

import copy
from abc import ABC, abstractmethod
from collections.abc import Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal, Self, get_args

import numpy as np
import torch
from torch import Tensor

from detente.deprecated import adopt
from detente.errors import InvalidValue, require, unknown
from detente.shortcuts.forward_cache import ForwardCache

Vectors = dict[str, Tensor]
Buffers = dict[str, dict[str, Tensor]]
Batch = dict[str, Tensor]
Given = Tensor | np.ndarray | Sequence[Tensor | np.ndarray] | Mapping[str, Tensor | np.ndarray]


Precision = Literal["float32", "bfloat16"]
SHORTCUTS = ("batch_norm", "forward_cache", "layered_jacobian", "layered_moments")


@dataclass(frozen=True)
class EvaluationSettings:
    """How a game's losses and their derivatives are evaluated: the same step, with less memory or time.

    A game carries its settings (`Game.with_settings`), and hands them to each call of a module.

    Args:
        precision: of the networks' matrix products and convolutions; "bfloat16" (autocast) takes half the memory, and
            less time where the device has it built in. Losses, parameters and optimizers keep their precision.
        accumulate: number of parts, ≥ 1, into which a batch is split (gradient accumulation): their gradients are
            averaged, and one part's graph is held at a time. A layer that mixes samples (BatchNorm) mixes those of one
            part; a field that multiplies with the Jacobian, such as consensus, costs one gradient more per player.
        channels_last: whether images are stored in channels-last memory format, which convolutions on GPUs like.
        shortcuts: the files of `detente.shortcuts` that may be used; () for none.
        forward_cache: the calls of modules that this step has made so far; None: nothing is shared.
    """

    precision: Precision = "float32"
    accumulate: int = 1
    channels_last: bool = False
    shortcuts: tuple[str, ...] = SHORTCUTS
    forward_cache: ForwardCache | None = None

    def __post_init__(self) -> None:
        if self.precision not in get_args(Precision):
            raise unknown("precision", self.precision, get_args(Precision))
        require(self.accumulate >= 1, "accumulate", self.accumulate, "an integer ≥ 1")
        for name in self.shortcuts:
            if name not in SHORTCUTS:
                raise unknown("shortcuts", name, SHORTCUTS)


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
    settings: EvaluationSettings = EvaluationSettings()

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        adopt(cls, {"dated": "with_step"})

    def with_settings(self, settings: EvaluationSettings) -> Self:
        """Return the same game, evaluated with other settings. `losses` hands `self.settings` to calls of modules."""
        _ = self.memo  # made before the copy, which shares it
        game = copy.copy(self)
        object.__setattr__(game, "settings", settings)
        return game

    @cached_property
    def memo(self) -> dict[Hashable, Any]:
        """What was found out about the game by trying, once for it and for its copies with other settings."""
        return {}

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

    def complete(self, batch: Mapping[str, Any], generator: torch.Generator) -> Batch:
        """Return a whole batch made of the user's own numbers; here a dictionary with the names that `draw` gives.

        Args:
            batch: tensors or numpy arrays by name.
            generator: for what a game adds by chance; here nothing.

        Raises:
            InvalidValue: it is no dictionary, has other names, or something else than tensors in it.
        """
        names = sorted(self.draw(torch.Generator(generator.device).manual_seed(0)))
        allowed = f"a dictionary with {', '.join(names)}" if names else "nothing: this game draws no batch"
        mapping = isinstance(batch, Mapping)
        if not mapping or sorted(batch) != names:
            raise InvalidValue("batch", sorted(batch) if mapping else type(batch).__name__, allowed)
        return named_tensors(dict(batch), ())

    def parts(self, count: int | None = None) -> Iterator[Batch]:
        """Yield all terms of a game of finite `size` once, `count` a batch (default: as many as a drawn batch has)."""
        del count
        raise InvalidValue("game", type(self).__name__, "a game whose losses are finite sums (a stored set of samples)")

    def with_step(self, batch: Batch, t: Tensor) -> Batch:
        """Return a batch as the losses read it at step t, int64 (): with the step where they depend on it."""
        return {**batch, "t": t} if self.scheduled else batch

    def project(self, vectors: Vectors) -> Vectors:
        """Return the nearest allowed point; the whole space is allowed unless a game says otherwise."""
        return vectors


def named_tensors(batch: Given, names: tuple[str, ...]) -> Batch:
    """Return a batch in any of its forms as tensors by name.

    Args:
        batch: samples, a sequence such as (samples, labels), or a dictionary; tensors or numpy arrays.
        names: of the members of a sequence, as many as are used.

    Raises:
        InvalidValue: something in it is neither a tensor nor an array.
    """
    if isinstance(batch, Tensor | np.ndarray):
        batch = (batch,)  # pyright: ignore[reportAssignmentType]
    if isinstance(batch, list | tuple):
        batch = dict(zip(names, batch, strict=False))
    allowed = "a tensor, a numpy array, (samples, labels), or a dictionary of these by name"
    require(isinstance(batch, Mapping), "batch", type(batch).__name__, allowed)
    assert isinstance(batch, Mapping)
    for name, value in batch.items():
        accepted = isinstance(value, Tensor | np.ndarray)
        require(accepted, f"batch[{name!r}]", type(value).__name__, "a tensor or a numpy array")
    return {name: torch.as_tensor(value) for name, value in batch.items()}
