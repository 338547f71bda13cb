"""The base class of schemes: the order of field evaluations and moves in one training step."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, replace
from functools import cache
from typing import Any, ClassVar

import torch
from torch import Tensor

from detente.arguments import Typed
from detente.autodiff import Evaluation
from detente.autodiff.over_ranks import losses_at
from detente.autodiff.tracing import is_eager
from detente.deprecated import adopt, lookup
from detente.errors import require
from detente.fields.base import Field
from detente.game import Batch, Buffers, Game, Vectors
from detente.optimizers.base import Optimizer
from detente.ranks import Ranks, divides_memory, norms, of_parts, own_part, rows
from detente.schedules.base import is_scheduled
from detente.shortcuts.forward_cache import ForwardCache
from detente.state import Info, State, Tree, flatten, unflatten

Noise = dict[str, Tensor]
NoisePerBatch = tuple[Noise, ...]  # noise for the moves that belong to each batch of a step


@dataclass(frozen=True)
class StepContext:
    """A game, a field and the players' optimizers, with the two operations that make up schemes.

    Args:
        game: the game.
        field: the vector field.
        optimizers: the optimizers, by player.
        in_place: whether moves may overwrite the vectors and memory they start from, since nothing reads them later.
    """

    game: Game
    field: Field
    optimizers: dict[str, Optimizer]
    in_place: bool = False

    def evaluate(self, state: State, batch: Batch, players: tuple[str, ...] | None = None) -> tuple[Evaluation, State]:
        """Return the field at the state's point, and the state with updated buffers and field memory.

        Where ranks divide memory, each gets its part of the blocks.
        """
        game, before, field = self.game, state.memory["field"], self.field
        if is_scheduled(field):
            field = field.at(state.t, next(iter(state.vectors.values())).dtype)
        batch = game.with_step(batch, state.t)
        evaluation, after = field(game, state.vectors, state.buffers, batch, before, players or game.players)
        if divides_memory():
            parts = {name: own_part(block, len(state.vectors[name])) for name, block in evaluation.field.items()}
            evaluation = replace(evaluation, field=parts)
        memory = state.memory if after is before else {**state.memory, "field": after}
        return evaluation, State(state.t, state.vectors, evaluation.buffers, memory)

    def sharing(self, players: tuple[str, ...]) -> tuple[StepContext, ForwardCache | None]:
        """Return the context with a cache of module calls, for turns on one batch, and the cache, unless it is off.

        Args:
            players: players that have not moved yet in this step.
        """
        settings, memo = self.game.evaluation_settings, self.game.evaluation_memo
        if "forward_cache" not in settings.shortcuts or not memo.get("repeats calls in a step", True):
            return self, None
        cache = ForwardCache(players)
        game = self.game.with_settings(settings.with_cache(cache))
        return StepContext(game, self.field, self.optimizers, self.in_place), cache

    @torch.no_grad()
    def loss(self, state: State, batch: Batch, player: str) -> Tensor:
        """Return one player's loss, (), at the state's point, without derivatives; buffers do not change."""
        batch = self.game.with_step(batch, state.t)
        return losses_at(self.game, state.vectors, state.buffers, batch, (player,))[player]

    def advance(
        self,
        state: State,
        directions: Vectors,
        noise: Noise,
        origin: Vectors | None = None,
        returns: bool = False,
    ) -> State:
        """Return the state after each player in `directions` has moved against its direction.

        Args:
            state: the current state; its memory is used.
            directions: blocks of a field, (n_i,), of the players that move, as `evaluate` returns them.
            noise: standard normal numbers, (n_i,), for optimizers that need them; new ones for each move.
            origin: the point from which the players move. Default: the state's point.
            returns: whether the scheme reads the state's point again, so that this move may not overwrite it.
        """
        vectors, memory = dict(state.vectors), dict(state.memory["optimizers"])
        origin = origin or state.vectors
        for name, direction in directions.items():
            start, optimizer = origin[name], self.optimizers[name]
            optimizer_memory = memory[name]
            direction = direction if optimizer.elementwise else of_parts(direction, len(start))
            if optimizer.needs_covariance:
                optimizer_memory = {**optimizer_memory, "covariance": state.memory["field"]["covariance"][name]}
            move = optimizer.step_in_place if self.in_place else optimizer
            start = start.clone() if self.in_place and returns else start
            vectors[name], memory[name] = move(start, direction, optimizer_memory, state.t, noise.get(name))
        return State(state.t, self.game.project(vectors), state.buffers, {**state.memory, "optimizers": memory})


class Scheme(Typed, ABC):
    """The order of field evaluations and moves in one step.

    A concrete scheme is a frozen dataclass whose fields are its hyper-parameters. `allows_in_place` states that the
    scheme never reads a point again after moving away from it, unless it moved with `returns`. Where ranks divide
    memory, a scheme gets and returns its `detente.ranks.own_part` of the memory that is `divided`.
    """

    allows_in_place: ClassVar[bool] = False
    divided: ClassVar[tuple[str, ...]] = ()  # names of its memory with one number per parameter, which ranks may divide
    traceable: ClassVar[bool] = True

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        adopt(cls, {"forgets": "allows_in_place", "renewed": "restart", "evaluated": "eval_state"})

    def check(self, game: Game, field: Field) -> None:
        """Raise `InvalidValue` if the scheme does not support the game or the field; the error names the reason."""
        del game, field

    def draws(self, players: tuple[str, ...]) -> int:
        """Return the number of batches that one step uses."""
        del players
        return 1

    def batches_of_rank(self, batches: tuple[Batch, ...], ranks: Ranks, parts: int) -> tuple[Batch, ...]:
        """Return what one rank evaluates of a step's batches. Default: its rows of each; see `detente.ranks.rows`."""
        return tuple(rows(batch, ranks, parts) for batch in batches)

    def divided_names(self) -> tuple[str, ...]:
        """Return the names of `divided`, and of the memory of other schemes inside of this one."""
        return self.divided

    def memory_of_rank(self, memory: Tree, ranks: Ranks) -> Tree:
        """Return what one rank holds of the scheme's memory, `divided` or not. Default: all, the same on all ranks."""
        del ranks
        return memory

    def whole_memory(self, memory: Tree, ranks: Ranks) -> Tree:
        """Return the scheme's memory of all ranks, which must all call it."""
        del ranks
        return memory

    @abstractmethod
    def gradient_evaluations(self, field: Field, players: tuple[str, ...]) -> int:
        """Return the cost of one step, in gradients of one player's loss on one batch."""

    def random(self, vectors: Vectors, generator: torch.Generator) -> Noise:
        """Return the scheme's own random numbers of one step, by name; they are part of the first batch's noise."""
        del vectors, generator
        return {}

    def initial(self, context: StepContext, vectors: Vectors, buffers: Buffers, generator: torch.Generator) -> Tree:
        """Return the scheme's memory before the first step. Default: empty."""
        del context, vectors, buffers, generator
        return {}

    def restart(self, state: State, generator: torch.Generator) -> State:
        """Return the state from which to continue when the field is about to prepare. Default: the state itself.

        Args:
            state: the current state.
            generator: source of randomness for random decisions.
        """
        del generator
        return state

    def eval_state(self, state: State) -> State:
        """Return the state to use for metrics and samples. Default: the state itself."""
        return state

    @abstractmethod
    def __call__(
        self, context: StepContext, state: State, batches: tuple[Batch, ...], noise: NoisePerBatch
    ) -> tuple[State, Info]:
        """Return the state after one step, and the statistics of the step. A pure function.

        Args:
            context: game, field and optimizers.
            state: the current state.
            batches: the step's batches; `draws` returns their number.
            noise: for each batch, the optimizers' noise for its moves; the first also holds the numbers of `random`.
        """


def select(condition: Tensor, first: Tree, second: Tree) -> Tree:
    """Return `first` if the condition, bool (), is true, otherwise `second`; both have the same structure."""
    if is_eager(condition):
        return first if bool(condition) else second
    flat_first, flat_second = flatten(first), flatten(second)
    return unflatten(
        {name: torch.where(condition, flat_first[name], flat_second[name]) for name in flat_second}, second
    )


def turn_order(order: tuple[str, ...] | None, players: tuple[str, ...]) -> tuple[str, ...]:
    """Return the players in the order in which they move. Default: the players in reverse.

    Raises:
        InvalidValue: `order` does not name each player once.
    """
    if not order:
        return players[::-1]
    return _each_once(tuple(order), players)


@cache
def _each_once(order: tuple[str, ...], players: tuple[str, ...]) -> tuple[str, ...]:
    require(sorted(order) == sorted(players), "order", order, f"each of {', '.join(players)} once")
    return order


def step_info(*evaluations: Evaluation) -> Info:
    """Return the statistics of one or more evaluations; for each player, those of its latest evaluation.

    In the losses of an evaluation, "player.term" is a term of a player's loss.
    """
    info, blocks = Info({}, {}, extra={}), {}
    for evaluation in evaluations:
        for name, loss in evaluation.losses.items():
            if name in evaluation.field or "." not in name:
                info.losses[name] = loss
            else:
                player, _, term = name.partition(".")
                info.terms.setdefault(player, {})[term] = loss
        blocks |= evaluation.field
        info.extra.update(evaluation.extra)
    info.gradient_norm.update(zip(blocks, norms([*blocks.values()]), strict=True))
    return info


__getattr__ = lookup(__name__)
