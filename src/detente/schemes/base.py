"""The role of a scheme: in what order are fields evaluated and moves made?"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import torch
from torch import Tensor

from detente.autodiff import Evaluation
from detente.autodiff.tracing import is_eager
from detente.deprecated import adopt, lookup
from detente.errors import require
from detente.fields.base import Field
from detente.game import Batch, Buffers, Game, Vectors
from detente.optimizers.base import Optimizer
from detente.state import Info, State, Tree, flatten, unflatten

Noise = dict[str, Tensor]
NoisePerBatch = tuple[Noise, ...]  # noise for the moves made with each batch of a step


@dataclass(frozen=True)
class StepContext:
    """A game with a field and everybody's optimizer: the two moves out of which schemes are built.

    Args:
        game: who plays.
        field: which way.
        optimizers: how far, by player.
        in_place: whether moves may overwrite the vectors and memory they start from, since nobody looks back.
    """

    game: Game
    field: Field
    optimizers: dict[str, Optimizer]
    in_place: bool = False

    def evaluate(self, state: State, batch: Batch, players: tuple[str, ...] | None = None) -> tuple[Evaluation, State]:
        """Return the field at the state's point, and the state with the buffers and memory that this left."""
        memory = state.memory["field"]
        evaluation, memory = self.field(
            self.game,
            state.vectors,
            state.buffers,
            self.game.with_step(batch, state.t),
            memory,
            players or self.game.players,
        )
        return evaluation, replace(state, buffers=evaluation.buffers, memory={**state.memory, "field": memory})

    @torch.no_grad()
    def loss(self, state: State, batch: Batch, player: str) -> Tensor:
        """Return one player's loss, (), at the state's point, without derivatives and without a trace in buffers."""
        losses, _ = self.game.losses(state.vectors, state.buffers, self.game.with_step(batch, state.t), (player,))
        return losses[player]

    def advance(self, state: State, directions: Vectors, noise: Noise, origin: Vectors | None = None) -> State:
        """Return the state after each player with a direction has moved against it.

        Args:
            state: whose memory is used.
            directions: blocks of a field, (n_i,), of those who move.
            noise: standard normal numbers, (n_i,), for the optimizers that want them; new ones for every move.
            origin: from where they move (default: from where they are).
        """
        vectors, memory = dict(state.vectors), dict(state.memory["optimizers"])
        for name, direction in directions.items():
            start, optimizer = (origin or state.vectors)[name], self.optimizers[name]
            optimizer_memory = memory[name]
            if optimizer.needs_covariance:
                optimizer_memory = {**optimizer_memory, "covariance": state.memory["field"]["covariance"][name]}
            move = optimizer.step_in_place if self.in_place else optimizer
            vectors[name], memory[name] = move(start, direction, optimizer_memory, state.t, noise.get(name))
        return replace(state, vectors=self.game.project(vectors), memory={**state.memory, "optimizers": memory})


class Scheme(ABC):
    """The order of evaluations and moves that makes one step.

    A concrete scheme is a frozen dataclass whose fields are its hyper-parameters. `allows_in_place` promises that it
    never looks back at a point that it has moved from.
    """

    allows_in_place: ClassVar[bool] = False
    traceable: ClassVar[bool] = True

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        adopt(cls, {"forgets": "allows_in_place", "renewed": "restart", "evaluated": "eval_state"})

    def check(self, game: Game, field: Field) -> None:
        """Raise `InvalidValue`, naming what does not fit, where the scheme cannot be played."""
        del game, field

    def draws(self, players: tuple[str, ...]) -> int:
        """Return how many batches one step uses."""
        del players
        return 1

    @abstractmethod
    def gradient_evaluations(self, field: Field, players: tuple[str, ...]) -> int:
        """Return what one step costs, in gradients of one player's loss on one batch."""

    def random(self, vectors: Vectors, generator: torch.Generator) -> Noise:
        """Return the scheme's own random numbers of one step, by name; they come with the first turn's noise."""
        del vectors, generator
        return {}

    def initial(self, context: StepContext, vectors: Vectors, buffers: Buffers, generator: torch.Generator) -> Tree:
        """Return what the scheme remembers between steps (nothing, unless it says otherwise)."""
        del context, vectors, buffers, generator
        return {}

    def restart(self, state: State, generator: torch.Generator) -> State:
        """Return the state to go on from where the field is about to look at the whole set: the state itself.

        Args:
            state: where it stands.
            generator: for a decision by chance.
        """
        del generator
        return state

    def eval_state(self, state: State) -> State:
        """Return the state to be measured and sampled: the state itself, unless the scheme keeps a better one."""
        return state

    @abstractmethod
    def __call__(
        self, context: StepContext, state: State, batches: tuple[Batch, ...], noise: NoisePerBatch
    ) -> tuple[State, Info]:
        """Return the state after one step, and what is worth knowing about it. Pure.

        Args:
            context: game, field and optimizers.
            state: where it stands.
            batches: as many as `draws` says.
            noise: for each batch, the optimizers' numbers of the moves made with it; first also what `random` drew.
        """


def select(condition: Tensor, first: Tree, second: Tree) -> Tree:
    """Return the first tree if the condition, bool (), holds, else the second, which has the same structure."""
    if is_eager(condition):
        return first if bool(condition) else second
    flat_first, flat_second = flatten(first), flatten(second)
    return unflatten(
        {name: torch.where(condition, flat_first[name], flat_second[name]) for name in flat_second}, second
    )


def turn_order(order: tuple[str, ...] | None, players: tuple[str, ...]) -> tuple[str, ...]:
    """Return who moves first, second, …: by default the players in reverse.

    Raises:
        InvalidValue: `order` does not name each player once.
    """
    order = order or tuple(reversed(players))
    require(sorted(order) == sorted(players), "order", order, f"each of {', '.join(players)} once")
    return order


def step_info(*evaluations: Evaluation) -> Info:
    """Return what evaluations tell, the latest word of each player."""
    info = Info({}, {}, extra={})
    for evaluation in evaluations:
        info.losses.update(evaluation.losses)
        info.gradient_norm.update({name: block.norm() for name, block in evaluation.field.items()})
        info.extra.update(evaluation.extra)
    return info


__getattr__ = lookup(__name__)
