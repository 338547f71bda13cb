"""The base class of fields: the direction that each player moves against."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from typing import Any, ClassVar, Self

import torch
from torch import Tensor

from detente.arguments import Typed
from detente.autodiff import Evaluation, vector_field
from detente.autodiff.over_ranks import evaluation_over_ranks
from detente.deprecated import adopt, lookup
from detente.errors import require
from detente.game import Batch, Buffers, Game, Vectors
from detente.ranks import own_part, ranks, rows, together
from detente.schedules.base import at_step, is_scheduled
from detente.state import State, Tree


class Field(Typed, ABC):
    """A vector field on the joint parameters, built from the game's losses and their derivatives.

    A concrete field is a frozen dataclass whose fields are its hyper-parameters. Players move *against* the field:
    like a gradient, it points uphill. A hyper-parameter may be a schedule if its docstring says so; the field reads it
    as `number("strength", self.strength)`, and a step evaluates `field.at(t, dtype)`.

    `traceable` states that the field can be compiled and mapped over seeds. `covariance_of` names the players for
    which the memory holds a covariance of per-sample gradients under "covariance", for optimizers that need one.

    Where ranks divide memory, a field gets and returns its `detente.ranks.own_part` of the memory that is `divided`.
    It may return its own parts of the blocks.
    """

    traceable: ClassVar[bool] = True
    prepares: ClassVar[bool] = False  # whether `needs_preparation` is ever true
    divided: ClassVar[tuple[str, ...]] = ()  # names of its memory with one number per parameter, which ranks may divide

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        adopt(cls, {"due": "needs_preparation"})

    @property
    def covariance_of(self) -> tuple[str, ...]:
        """The players for which the memory holds a covariance of per-sample gradients. Default: none."""
        return ()

    def at(self, t: Tensor, dtype: torch.dtype | None = None) -> Self:
        """Return the field at one step, with the values of its schedules in their place.

        Args:
            t: the training step, int64 ().
            dtype: dtype of the players' vectors.
        """
        return at_step(self, t, dtype) if is_scheduled(self) else self

    def check(self, game: Game) -> None:
        """Raise `InvalidValue` if the field is not defined on the game; the error names the reason."""
        del game

    def initial(self, game: Game, vectors: Vectors, buffers: Buffers) -> Tree:
        """Return the field's memory before the first step. Default: empty."""
        del game, vectors, buffers
        return {}

    def needs_preparation(self, game: Game, state: State, generator: torch.Generator) -> bool:
        """Return whether to call `prepare` before the next step.

        Args:
            game: the game.
            state: the current state.
            generator: source of randomness for random decisions.
        """
        del game, state, generator
        return False

    def prepare(self, game: Game, state: State) -> Tree:
        """Return the field's memory after a pass over the whole dataset, between steps."""
        del game
        return state.memory["field"]

    def preparation(self, game: Game) -> float:
        """Return the average cost of `prepare` per step, in gradients of one player's loss on one batch."""
        del game
        return 0

    def batches(self, game: Game) -> int:
        """Return the number of batches on which each block is evaluated. Default: 1."""
        del game
        return 1

    @abstractmethod
    def gradient_evaluations(self, moving: tuple[str, ...], players: tuple[str, ...]) -> int:
        """Return the cost of the blocks of the `moving` players, in gradients of one player's loss on one batch.

        Args:
            moving: the players whose blocks are evaluated.
            players: all players of the game.
        """

    @abstractmethod
    def __call__(
        self, game: Game, vectors: Vectors, buffers: Buffers, batch: Batch, memory: Tree, players: tuple[str, ...]
    ) -> tuple[Evaluation, Tree]:
        """Return the field's blocks for `players` at a point, and the new memory. A pure function."""


def require_finite(game: Game) -> None:
    """Raise `InvalidValue` unless the losses of a game are finite sums, which a field can evaluate in full."""
    allowed = "a game whose losses are finite sums"
    networks = hasattr(game, "finite_sum") and not hasattr(game, "fixed_latents")
    hint = f"For {'Networks: finite_sum' if networks else 'a GAN: fixed_latents'}=True, with a stored set of samples"
    require(game.size is not None, "game", type(game).__name__, allowed, hint)


def part_count(game: Game) -> int:
    """Return the number of batches in one pass over a finite game, that is, the steps of an epoch."""
    return math.ceil((game.size or 0) / game.batch)


def mean_field(game: Game, vectors: Vectors, buffers: Buffers, t: Tensor, players: tuple[str, ...]) -> Evaluation:
    """Return the blocks of `players`, their losses and the buffers after one pass over all terms of a finite game.

    Where ranks divide memory, each gets its part of the blocks.

    Args:
        game: a game of finite `size`.
        vectors: the point; each player's vector is (n_i,).
        buffers: the modules' buffers, passed on from batch to batch.
        t: the training step, int64 (), for games that depend on it.
        players: the players whose blocks to compute.
    """
    size = game.size or 0
    blocks: Vectors = {name: torch.zeros_like(own_part(vectors[name])) for name in players}
    losses: dict[str, Tensor] = {}
    for index, part in enumerate(game.parts(game.batch)):
        weight = min(game.batch, size - index * game.batch) / size  # the last part may be shorter
        evaluation = _part_field(game, vectors, buffers, part, t, players)
        buffers = evaluation.buffers
        blocks = {name: block + weight * evaluation.field[name] for name, block in blocks.items()}
        losses = {name: losses.get(name, 0.0) + weight * loss for name, loss in evaluation.losses.items()}
    return Evaluation(blocks, losses, buffers)


def _part_field(
    game: Game, vectors: Vectors, buffers: Buffers, part: Batch, t: Tensor, players: tuple[str, ...]
) -> Evaluation:
    """Return the field on one part of a finite game; every rank evaluates all of a part that cannot be divided."""
    current, complete_batch = ranks(), game.with_step({name: tensor.to(t.device) for name, tensor in part.items()}, t)
    if current is None:
        return vector_field(game, vectors, buffers, complete_batch, players)
    if any(len(tensor) % current.count for tensor in part.values() if tensor.dim()):
        with together(None):
            evaluation = vector_field(game, vectors, buffers, complete_batch, players)
        return evaluation_over_ranks(evaluation, parts=True)  # the same on all ranks to the bit
    own_rows = rows(complete_batch, current, game.evaluation_settings.accumulate)
    return vector_field(game, vectors, buffers, own_rows, players, parts=True)


def coupling_between_samples(game: Game) -> str:
    """Describe what mixes the samples of a batch (BatchNorm does); empty if gradients are means over samples.

    The test is empirical: it compares the gradient of four samples together with their gradients one by one.
    """
    with together(None):  # every rank evaluates the same test
        return _coupling(game)


def _coupling(game: Game) -> str:
    generator = torch.Generator().manual_seed(0)
    vectors, buffers = game.initial(generator)
    device = next(iter(vectors.values())).device  # the modules and the generator may be on different devices
    zero = torch.zeros((), dtype=torch.int64, device=device)
    batches = [{name: tensor.to(device) for name, tensor in game.draw(generator).items()} for _ in range(4)]
    complete_batch = game.with_step({name: tensor for name, tensor in batches[0].items() if not tensor.dim()}, zero)
    samples = {name: torch.cat([batch[name][:1] for batch in batches]) for name in batches[0] if batches[0][name].dim()}
    joint = vector_field(game, vectors, buffers, samples | complete_batch).field
    try:
        separately = [
            vector_field(
                game, vectors, buffers, {name: values[i : i + 1] for name, values in samples.items()} | complete_batch
            ).field
            for i in range(len(batches))
        ]
    except Exception as error:  # BatchNorm raises on a batch of one sample
        return f"a single sample cannot be evaluated: {str(error).partition(chr(10))[0]}"
    for name, block in joint.items():
        gradients = torch.stack([values[name] for values in separately])
        if (gradients.mean(0) - block).norm() > 0.01 * gradients.norm(dim=1).mean():  # far above rounding
            return f"the samples of a batch change each other's gradient for {name} (BatchNorm does that)"
    return ""


__getattr__ = lookup(__name__)
