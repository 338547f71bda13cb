"""A training method: which way, in what order, how far."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import torch

from detente.errors import require
from detente.fields.base import Field
from detente.game import Batch, Buffers, Game, Vectors
from detente.optimizers.base import Optimizer
from detente.schemes.base import Noise, Play, Scheme
from detente.state import Info, State


@dataclass(frozen=True)
class Method:
    """A field, a scheme and an optimizer: one published method of training is one such triple.

    Args:
        field: which way does each player want to move?
        scheme: in what order are fields evaluated and moves made?
        optimizer: how far? One for everybody, or one per player by name.
    """

    field: Field
    scheme: Scheme
    optimizer: Optimizer | Mapping[str, Optimizer]

    def optimizers(self, players: tuple[str, ...]) -> dict[str, Optimizer]:
        """Return everybody's optimizer.

        Raises:
            InvalidValue: optimizers are named, and the names are not the game's players.
        """
        if isinstance(self.optimizer, Optimizer):
            return dict.fromkeys(players, self.optimizer)
        require(
            set(self.optimizer) == set(players),
            "optimizer",
            sorted(self.optimizer),
            f"one optimizer for each of {', '.join(players)}",
        )
        return {name: self.optimizer[name] for name in players}

    def draws(self, game: Game) -> int:
        """Return how many batches one step uses."""
        return self.scheme.draws(game.players)

    def gradient_evaluations(self, game: Game) -> int:
        """Return what one step costs, in gradients of one player's loss on one batch."""
        return self.scheme.gradient_evaluations(self.field, game.players)

    def initial(self, game: Game, vectors: Vectors, buffers: Buffers) -> State:
        """Return the state before the first step."""
        memory = {
            "field": self.field.initial(game, vectors, buffers),
            "scheme": self.scheme.initial(vectors, buffers),
            "optimizers": {name: opt.initial(vectors[name]) for name, opt in self.optimizers(game.players).items()},
        }
        device = next(iter(vectors.values())).device
        return State(torch.zeros((), dtype=torch.int64, device=device), vectors, buffers, memory)

    def noise(self, state: State, generator: torch.Generator) -> Noise:
        """Return the standard normal numbers of one step, (n_i,), for the optimizers that want them."""
        noisy = {name: o for name, o in self.optimizers(tuple(state.vectors)).items() if o.noisy}
        return {
            name: torch.randn(vector.shape, generator=generator, device=generator.device, dtype=vector.dtype)
            for name, vector in state.vectors.items()
            if name in noisy
        }

    def step(
        self, game: Game, state: State, batches: tuple[Batch, ...], noise: Noise | None = None
    ) -> tuple[State, Info]:
        """Return the state after one step, and what is worth knowing about it. Pure.

        Args:
            game: the game.
            state: where it stands.
            batches: as many batches as `draws` says.
            noise: as `noise` draws it.
        """
        play = Play(game, self.field, self.optimizers(game.players))
        state, info = self.scheme(play, state, batches, noise or {})
        return state, replace(info, gradient_evaluations=self.gradient_evaluations(game))
