"""A training method: which way, in what order, how far."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from detente.errors import require
from detente.fields.base import Field
from detente.game import Batch, Buffers, Game, Vectors
from detente.optimizers.base import Optimizer
from detente.schemes.base import NoisePerBatch, Scheme, StepContext
from detente.state import Info, State


@dataclass(frozen=True)
class Method:
    """A field, a scheme and an optimizer: one published method of training is one such triple.

    Args:
        field: which way does each player want to move?
        scheme: in what order are fields evaluated and moves made?
        optimizer: how far? One for everybody, or one per player, by name or in the order of the game's players.
    """

    field: Field
    scheme: Scheme
    optimizer: Optimizer | Mapping[str, Optimizer] | Sequence[Optimizer]

    def optimizers(self, players: tuple[str, ...]) -> dict[str, Optimizer]:
        """Return everybody's optimizer.

        Raises:
            InvalidValue: optimizers are named, and the names are not the game's players; or there are not as many.
        """
        if isinstance(self.optimizer, Optimizer):
            return dict.fromkeys(players, self.optimizer)
        allowed = f"one optimizer for each of {', '.join(players)}"
        hint = "Learning rates by player are optimizers by player"
        if not isinstance(self.optimizer, Mapping):
            names = [type(optimizer).__name__ for optimizer in self.optimizer]
            require(len(names) == len(players), "optimizer", names, allowed, hint)
            return dict(zip(players, self.optimizer, strict=True))
        require(set(self.optimizer) == set(players), "optimizer", sorted(self.optimizer), allowed, hint)
        return {name: self.optimizer[name] for name in players}

    def check(self, game: Game) -> None:
        """Raise `InvalidValue` where the method cannot be played on a game, naming what does not fit."""
        optimizers = self.optimizers(game.players)
        for name, optimizer in optimizers.items():
            allowed = "with this optimizer, a field that keeps a covariance of per-sample gradients for this player"
            available = not optimizer.needs_covariance or name in self.field.covariance_of
            require(
                available, "field", f"{type(self.field).__name__} for {name}", allowed, "e.g. the field `covariance`"
            )
        self.field.check(game)
        self.scheme.check(game, self.field)
        self.scheme.draws(game.players)

    def traceable(self, game: Game) -> bool:
        """Return whether a step may be compiled and mapped over seeds."""
        return game.traceable and self.field.traceable and self.scheme.traceable

    def draws(self, game: Game) -> int:
        """Return how many batches one step uses."""
        return self.scheme.draws(game.players)

    def gradient_evaluations(self, game: Game) -> float:
        """Return what one step costs, in gradients of one player's loss on one batch; on average, with preparation."""
        moves = self.scheme.gradient_evaluations(self.field, game.players)
        return moves * self.field.batches(game) + self.field.preparation(game)

    def initial(self, game: Game, generator: torch.Generator) -> State:
        """Return the state before the first step, all that is random in it from `generator`.

        Raises:
            InvalidValue: the method cannot be played on this game.
        """
        return self.beginning(game, *game.initial(generator), generator)

    def beginning(self, game: Game, vectors: Vectors, buffers: Buffers, generator: torch.Generator) -> State:
        """Return the state before the first step, from given parameters and buffers."""
        self.check(game)
        context = StepContext(game, self.field, self.optimizers(game.players))
        memory = {
            "field": self.field.initial(game, vectors, buffers),
            "scheme": self.scheme.initial(context, vectors, buffers, generator),
            "optimizers": {name: opt.initial(vectors[name]) for name, opt in context.optimizers.items()},
        }
        device = next(iter(vectors.values())).device
        return State(torch.zeros((), dtype=torch.int64, device=device), vectors, buffers, memory)

    def prepare(self, game: Game, state: State, generator: torch.Generator) -> State:
        """Return the state made ready for the next step: now and then a field looks at the whole set."""
        if not self.field.needs_preparation(game, state, generator):
            return state
        state = self.scheme.restart(state, generator)
        return replace(state, memory={**state.memory, "field": self.field.prepare(game, state)})

    def noise(self, game: Game, state: State, generator: torch.Generator) -> NoisePerBatch:
        """Return the random numbers of one step beside its batches, a dictionary for each batch.

        They are standard normal ones, (n_i,), for the optimizers that want them; the first also holds what the scheme
        draws.
        """

        def normal(vector: Tensor) -> Tensor:
            return torch.randn(vector.shape, generator=generator, device=generator.device, dtype=vector.dtype)

        noisy = [name for name, optimizer in self.optimizers(game.players).items() if optimizer.needs_noise]
        turns = [{name: normal(state.vectors[name]) for name in noisy} for _ in range(self.draws(game))]
        turns[0] |= self.scheme.random(state.vectors, generator)
        return tuple(turns)

    def step(
        self, game: Game, state: State, batches: tuple[Batch, ...], noise: NoisePerBatch = (), donate: bool = False
    ) -> tuple[State, Info]:
        """Return the state after one step, and what is worth knowing about it. Pure, unless `donate`.

        Args:
            game: the game.
            state: where it stands, made ready by `prepare`.
            batches: as many batches as `draws` says.
            noise: as `noise` draws it.
            donate: nobody else holds the state, so that the step may overwrite it.
        """
        context = StepContext(game, self.field, self.optimizers(game.players), donate and self.scheme.allows_in_place)
        state, info = self.scheme(context, state, batches, noise or ({},) * len(batches))
        return state, replace(info, gradient_evaluations=self.gradient_evaluations(game))
