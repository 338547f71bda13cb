"""A training method: a field, a scheme and the optimizers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, is_dataclass, replace
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from detente.errors import InvalidValue, require
from detente.fields.base import Field
from detente.game import Batch, Buffers, Game, Vectors
from detente.methods import sharding
from detente.optimizers.base import Optimizer
from detente.ranks import Ranks, ranks
from detente.schemes.base import NoisePerBatch, Scheme, StepContext
from detente.state import Info, State

GAN_PLAYERS = ("generator", "discriminator")


@dataclass(frozen=True)
class Method:
    """A training method: a field, a scheme and an optimizer.

    Args:
        field: the direction that each player moves against.
        scheme: the order of field evaluations and moves.
        optimizer: the optimizer of all players, or one per player, by name or in the order of the game's players.
    """

    field: Field
    scheme: Scheme
    optimizer: Optimizer | Mapping[str, Optimizer] | Sequence[Optimizer]

    def optimizers(self, players: tuple[str, ...]) -> dict[str, Optimizer]:
        """Return the optimizer of each player.

        Raises:
            InvalidValue: the names of the optimizers, or their number, do not match the game's players.
        """
        if isinstance(self.optimizer, Optimizer):
            return dict.fromkeys(players, self.optimizer)
        if isinstance(self.optimizer, Mapping):
            if set(self.optimizer) == set(players):
                return {name: self.optimizer[name] for name in players}
            names = sorted(self.optimizer)
        else:
            if len(self.optimizer) == len(players):
                return dict(zip(players, self.optimizer, strict=True))
            names = [type(optimizer).__name__ for optimizer in self.optimizer]
        hint = "A learning rate per player creates an optimizer per player"
        raise InvalidValue("optimizer", names, f"one optimizer for each of {', '.join(players)}", hint)

    def playing(self, game: Game) -> Method:
        """Return the method for a game of two players of other names.

        Where the method names "generator" and "discriminator", the result names the game's first and second player. If
        the game has only one of these two names, the other one stands for its other player.
        """
        if len(game.players) != 2 or set(game.players) == set(GAN_PLAYERS):
            several = len(game.players) > 2 and not set(GAN_PLAYERS) & set(game.players)
            if several and _renamed(self, dict(zip(GAN_PLAYERS, game.players, strict=False))) != self:
                allowed = "two players, since this method tells a generator from a discriminator"
                hint = 'Make them two with Networks(…, sides={"generators": […], "discriminators": […]})'
                raise InvalidValue("players", ", ".join(game.players), allowed, hint)
            return self
        known = [name for name in game.players if name in GAN_PLAYERS]
        if not known:
            return _renamed(self, dict(zip(GAN_PLAYERS, game.players, strict=True)))
        (missing,) = (name for name in GAN_PLAYERS if name not in known)
        (other,) = (name for name in game.players if name not in known)
        return _renamed(self, {missing: other})

    def _optimizers(self, game: Game) -> dict[str, Optimizer]:
        """Return the optimizer of each player for the layout of its vector."""
        optimizers = {
            name: optimizer.for_layout(game.layouts[name]) if name in game.layouts else optimizer
            for name, optimizer in self.optimizers(game.players).items()
        }
        return optimizers

    def _divided(self) -> list[str]:
        """Return the names in a state's memory below which ranks may divide vectors."""
        field = [f"field/{name}" for name in self.field.divided]
        return ["optimizers", *field, *(f"scheme/{name}" for name in self.scheme.divided_names())]

    def check(self, game: Game) -> None:
        """Raise `InvalidValue` if the method does not support the game; the error names the reason."""
        optimizers = self.optimizers(game.players)
        for name, optimizer in optimizers.items():
            allowed = "with this optimizer, a field that estimates the covariance of this player's per-sample gradients"
            available = not optimizer.needs_covariance or name in self.field.covariance_of
            require(
                available, "field", f"{type(self.field).__name__} for {name}", allowed, "e.g. the field `covariance`"
            )
            users = [user for user, other in optimizers.items() if other is optimizer]
            optimizer.check({user: game.layouts[user] for user in users if user in game.layouts})
        self.field.check(game)
        self.scheme.check(game, self.field)
        self.scheme.draws(game.players)

    def traceable(self, game: Game) -> bool:
        """Return whether a step can be compiled and mapped over seeds."""
        optimizers = self.optimizers(game.players).values()
        parts = (game, self.field, self.scheme, *optimizers)
        return all(part.traceable for part in parts)

    def draws(self, game: Game) -> int:
        """Return the number of batches that one step uses."""
        return self.scheme.draws(game.players)

    def batches_of_rank(self, game: Game, batches: tuple[Batch, ...], ranks: Ranks | None) -> tuple[Batch, ...]:
        """Return the part of a step's batches that one rank evaluates; every rank draws the same batches. None: all.

        Raises:
            InvalidValue: the batch is not a multiple of the number of ranks.
        """
        if ranks is None or ranks.count == 1:
            return batches
        return self.scheme.batches_of_rank(batches, ranks, game.evaluation_settings.accumulate)

    def state_of_rank(self, state: State, ranks: Ranks | None) -> State:
        """Return what one rank holds of a whole state, such as that of one process.

        That is all of it, except SGAN's other pairs, and other ranks' parts of memory that is divided.
        """
        if ranks is None or ranks.count == 1:
            return state
        memory = {**state.memory, "scheme": self.scheme.memory_of_rank(state.memory["scheme"], ranks)}
        return replace(state, memory=sharding.memory_of_rank(memory, self._divided(), ranks) if ranks.shard else memory)

    def whole_state(self, state: State, ranks: Ranks | None) -> State:
        """Return the state that one process would have, on each rank; all ranks must call it."""
        if ranks is None or ranks.count == 1:
            return state
        memory = sharding.whole_memory(state.memory, self._divided(), ranks) if ranks.shard else state.memory
        return replace(state, memory={**memory, "scheme": self.scheme.whole_memory(memory["scheme"], ranks)})

    def gradient_evaluations(self, game: Game) -> float:
        """Return the average cost of a step with preparation, in gradients of one player's loss on one batch."""
        moves = self.scheme.gradient_evaluations(self.field, game.players)
        return moves * self.field.batches(game) + self.field.preparation(game)

    def initial(self, game: Game, generator: torch.Generator) -> State:
        """Return the state before the first step, with random numbers from `generator`.

        Raises:
            InvalidValue: the method does not support the game.
        """
        return self.beginning(game, *game.initial(generator), generator)

    def beginning(self, game: Game, vectors: Vectors, buffers: Buffers, generator: torch.Generator) -> State:
        """Return the state before the first step, from given parameters and buffers."""
        self.check(game)
        context = StepContext(game, self.field, self._optimizers(game))
        memory = {
            "field": self.field.initial(game, vectors, buffers),
            "scheme": self.scheme.initial(context, vectors, buffers, generator),
            "optimizers": {name: opt.initial(vectors[name]) for name, opt in context.optimizers.items()},
        }
        device = next(iter(vectors.values())).device
        if (current := ranks()) is not None and current.shard:
            memory = sharding.memory_of_rank(memory, self._divided(), current)
        return State(torch.zeros((), dtype=torch.int64, device=device), vectors, buffers, memory)

    def prepare(self, game: Game, state: State, generator: torch.Generator) -> State:
        """Return the state prepared for the next step; a field may need a pass over the whole dataset before it."""
        if not self.field.needs_preparation(game, state, generator):
            return state
        state = self.scheme.restart(state, generator)
        return replace(state, memory={**state.memory, "field": self.field.prepare(game, state)})

    def observe(self, state: State, metrics: Mapping[str, float]) -> State:
        """Return the state after a measurement between two steps, for optimizers that react to metrics.

        Args:
            state: the current state.
            metrics: the measured values, by name.
        """
        optimizers, memory = self.optimizers(tuple(state.vectors)), state.memory["optimizers"]
        observed = {name: optimizers[name].observe(memory[name], metrics) for name in memory}
        return replace(state, memory={**state.memory, "optimizers": observed})

    def context(self, game: Game, donate: bool = False) -> StepContext:
        """Return the game, the field and the optimizers as the scheme uses them in each step, for the current ranks.

        Args:
            game: the game.
            donate: whether steps may overwrite their state.
        """
        optimizers, current = self._optimizers(game), ranks()
        if current is not None and current.shard:
            optimizers = {name: sharding.sharded(optimizer, current) for name, optimizer in optimizers.items()}
        return StepContext(game, self.field, optimizers, donate and self.scheme.allows_in_place)

    def noise(self, game: Game, state: State, generator: torch.Generator) -> NoisePerBatch:
        """Return the random numbers of one step in addition to its batches, one dictionary per batch.

        They are standard normal numbers, (n_i,), for optimizers that need them; the first dictionary also holds the
        scheme's random numbers.
        """

        def normal(vector: Tensor) -> Tensor:
            return torch.randn(vector.shape, generator=generator, device=generator.device, dtype=vector.dtype)

        if not self._draws_noise:
            return ({},) * self.draws(game)
        noisy = [name for name, optimizer in self.optimizers(game.players).items() if optimizer.needs_noise]
        turns = [{name: normal(state.vectors[name]) for name in noisy} for _ in range(self.draws(game))]
        turns[0] |= self.scheme.random(state.vectors, generator)
        return tuple(turns)

    @cached_property
    def _draws_noise(self) -> bool:
        """Whether an optimizer or the scheme may need random numbers."""
        if isinstance(self.optimizer, Optimizer):
            optimizers = [self.optimizer]
        else:
            optimizers = self.optimizer.values() if isinstance(self.optimizer, Mapping) else self.optimizer
        return type(self.scheme).random is not Scheme.random or any(optimizer.needs_noise for optimizer in optimizers)

    def step(
        self, game: Game, state: State, batches: tuple[Batch, ...], noise: NoisePerBatch = (), donate: bool = False
    ) -> tuple[State, Info]:
        """Return the state after one step, and the statistics of the step. A pure function unless `donate` is true.

        Args:
            game: the game.
            state: the current state, as returned by `prepare`.
            batches: the step's batches; `draws` returns their number.
            noise: the random numbers of `noise`.
            donate: whether the step may overwrite the state, which the caller must then not use again.
        """
        state, info = self.scheme(self.context(game, donate), state, batches, noise or ({},) * len(batches))
        return state, replace(info, gradient_evaluations=self.gradient_evaluations(game))


def _renamed(value: Any, names: Mapping[str, str]) -> Any:
    """Return a value with players renamed in all strings, tuples and dictionaries that its settings contain."""
    if isinstance(value, str):
        return names.get(value, value)
    if isinstance(value, Mapping):
        return {names.get(key, key): _renamed(item, names) for key, item in value.items()}
    if isinstance(value, tuple):
        return tuple(_renamed(item, names) for item in value)
    if not is_dataclass(value) or isinstance(value, type):
        return value
    settings = {f.name: getattr(value, f.name) for f in fields(value) if f.init}
    changes = {name: _renamed(item, names) for name, item in settings.items()}
    changes = {name: item for name, item in changes.items() if item is not settings[name] and item != settings[name]}
    return replace(value, **changes) if changes else value
