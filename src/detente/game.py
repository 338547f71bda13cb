"""Base class of games: each player minimises its own loss with respect to its own parameter vector."""

from __future__ import annotations

import copy
from abc import ABC, abstractmethod
from collections.abc import Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from types import MappingProxyType
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
    """Settings that save memory or time when losses and their derivatives are evaluated.

    A game stores its settings (`Game.with_settings`) and passes them to each call of a module.

    Args:
        precision: precision of the networks' matrix products and convolutions. "bfloat16" (autocast) halves the memory
            and is faster on devices that support it. Losses, parameters and optimizers keep their precision.
        accumulate: number of parts, ≥ 1, into which a batch is split (gradient accumulation). Gradients are averaged
            over the parts, and only one part's graph is in memory at a time. A layer that mixes samples (BatchNorm)
            mixes those of one part. A field that multiplies by the Jacobian, such as consensus, costs one extra
            gradient per player.
        channels_last: whether images are stored in channels-last memory format, which is faster for convolutions on
            GPUs.
        shortcuts: names of the files of `detente.shortcuts` that may be used; () for none.
        forward_cache: results of the module calls of the current step; None: no results are shared.
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

    @cached_property
    def without_cache(self) -> EvaluationSettings:
        """The same settings without a cache."""
        return replace(self, forward_cache=None)

    def with_cache(self, cache: ForwardCache) -> EvaluationSettings:
        """Return the same settings with a cache; quickly, since each step has a new one."""
        settings, plain = object.__new__(type(self)), self.without_cache
        vars(settings).update(vars(plain), forward_cache=cache, without_cache=plain)
        return settings


class Game(ABC):
    """Base class of games: the players, their losses and their batches. Parameters are passed in, not stored.

    Attributes:
        zero_sum: whether the losses sum to zero.
        traceable: whether `losses` can be traced for compilation and mapped over seeds.
        scheduled: whether the losses depend on the step; if so, each batch contains it as "t", ().
        solution: the equilibrium, or None if it is unknown.
        batch: number of samples in a drawn batch.
        restores_order: whether a resumed run draws the same batches as an uninterrupted one.
        layouts: names and shapes of each player's tensors, a `detente.modules.layout.Layout`; a player whose vector
            has no parts is left out.
        evaluation_settings: how the losses are evaluated.
    """

    zero_sum: bool = False
    traceable: bool = True
    scheduled: bool = False
    solution: Vectors | None = None
    batch: int = 1
    restores_order: bool = True
    layouts: Mapping[str, Any] = MappingProxyType({})
    evaluation_settings: EvaluationSettings = EvaluationSettings()

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        adopt(cls, {"dated": "with_step"})

    def with_settings(self, settings: EvaluationSettings) -> Self:
        """Return the same game with other settings, which `losses` must pass to each call of a module."""
        _ = self.evaluation_memo  # created before the copy, so that both share it
        game = copy.copy(self)
        object.__setattr__(game, "evaluation_settings", settings)
        return game

    @cached_property
    def evaluation_memo(self) -> dict[Hashable, Any]:
        """Properties of the game that were found by evaluating it. Copies with other settings share this cache."""
        return {}

    @property
    def size(self) -> int | None:
        """Number of terms N if every loss is a fixed mean of N terms, otherwise None."""
        return None

    @property
    def randomness(self) -> str:
        """Description of what draws random numbers in addition to the samples; empty if nothing does.

        If it is not empty, no loss is a fixed mean.
        """
        return ""

    @property
    @abstractmethod
    def players(self) -> tuple[str, ...]:
        """Names of the players, in the order used in the literature."""

    @abstractmethod
    def initial(self, generator: torch.Generator) -> tuple[Vectors, Buffers]:
        """Return each player's initial vector, (n_i,), and module buffers."""

    @abstractmethod
    def losses(
        self, vectors: Vectors, buffers: Buffers, batch: Batch, players: tuple[str, ...] | None = None
    ) -> tuple[dict[str, Tensor], Buffers]:
        """Return the loss, (), of each of `players` (default: all) and the new buffers. Must be a pure function."""

    def draw(self, generator: torch.Generator) -> Batch:
        """Return one batch: all random numbers of one evaluation, by name."""
        del generator
        return {}

    def complete(self, batch: Mapping[str, Any], generator: torch.Generator) -> Batch:
        """Return a complete batch from the user's own data; by default a dictionary with the same names as `draw`.

        Args:
            batch: tensors or numpy arrays by name.
            generator: draws the random numbers that the batch lacks; unused by default.

        Raises:
            InvalidValue: `batch` is not a dictionary, has other names, or contains something other than tensors.
        """
        names = sorted(self.draw(torch.Generator(generator.device).manual_seed(0)))
        allowed = f"a dictionary with {', '.join(names)}" if names else "nothing: this game draws no batch"
        mapping = isinstance(batch, Mapping)
        if not mapping or sorted(batch) != names:
            raise InvalidValue("batch", sorted(batch) if mapping else type(batch).__name__, allowed)
        return named_tensors(dict(batch), ())

    def parts(self, count: int | None = None) -> Iterator[Batch]:
        """Yield each term of a game of finite `size` once, in batches of `count` (default: `batch`)."""
        del count
        raise InvalidValue("game", type(self).__name__, "a game whose losses are finite sums (a stored set of samples)")

    def position(self, generator: torch.Generator) -> bytes:
        """Return the position of a generator's batches in a stream of data; empty if its state determines them."""
        del generator
        return b""

    def restore(self, generator: torch.Generator, position: bytes) -> None:
        """Continue a generator's batches at a position in a stream of data."""
        del generator, position

    def with_step(self, batch: Batch, t: Tensor) -> Batch:
        """Return the batch, with step `t`, int64 (), added if the losses depend on it."""
        return {**batch, "t": t} if self.scheduled else batch

    def project(self, vectors: Vectors) -> Vectors:
        """Return the nearest feasible point. By default, every point is feasible."""
        return vectors


def named_tensors(batch: Given, names: tuple[str, ...]) -> Batch:
    """Return a batch in any supported form as a dictionary of tensors by name.

    Args:
        batch: samples, a sequence such as (samples, labels), or a dictionary; tensors or numpy arrays.
        names: names of the elements of a sequence; elements without a name are ignored.

    Raises:
        InvalidValue: an element is neither a tensor nor an array.
    """
    if type(batch) is dict and all([type(value) is Tensor for value in batch.values()]):
        return dict(batch)
    if isinstance(batch, Tensor | np.ndarray):
        batch = (batch,)  # pyright: ignore[reportAssignmentType]
    if isinstance(batch, list | tuple):
        batch = dict(zip(names, batch, strict=False))
    if not isinstance(batch, Mapping):
        allowed = "a tensor, a numpy array, (samples, labels), or a dictionary of these by name"
        raise InvalidValue("batch", type(batch).__name__, allowed)
    for name, value in batch.items():
        if not isinstance(value, (Tensor, np.ndarray)):
            raise InvalidValue(f"batch[{name!r}]", type(value).__name__, "a tensor or a numpy array")
    return {name: torch.as_tensor(value) for name, value in batch.items()}


def require_two_players(game: Game) -> None:
    """Raise `InvalidValue` unless a game has two players."""
    hint = 'Make them two with Networks(…, sides={"generators": […], "discriminators": […]})'
    given = f"{type(game).__name__} with {len(game.players)} players"
    require(len(game.players) == 2, "game", given, "a game of two players", hint if len(game.players) > 2 else "")
