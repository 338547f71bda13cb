"""Accept–reject min-max as the authors' code for the mixture of Gaussians does it, which is not the paper's rule."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from detente.errors import require
from detente.fields.base import Field
from detente.game import Batch, Buffers, Game, Vectors, require_two_players
from detente.schemes.base import NoisePerBatch, Scheme, StepContext, select, step_info
from detente.state import Info, State, Tree

LONGEST_UNROLLED = 20  # a traced step contains every move of the ascent


@dataclass(frozen=True)
class AcceptRejectCode(Scheme):
    """x moves together with y's first ascent, y ascends k − 1 times more, and x is kept if L_y(new) ≤ L_y(old).

    L_y = −f is the discriminator's cross-entropy, so the proposal is kept where the discriminator got *better*: the
    opposite of `AcceptReject`, where f must fall. L_y(new) is the loss that the last ascent step differentiates, on its
    batch; L_y(old) is that of the step before, accepted or not, on other samples. A rejection restores the generator's
    parameters only; the discriminator, both optimizers' memory and the value stay.

    Args:
        ascent_steps: k, moves of the max player, ≥ 1.
        accept_every: r: steps 0, r, 2r, … are accepted anyway; None for the first only.
        paper_sign: accept where f falls, as the paper says, instead of where it rises.
        restore_both: a rejection restores the max player, too, as the paper says.

    Source: the notebook of Mangoubi, Sachdeva & Vishnoi 2020 for four Gaussians, github.com/mangoubi/
        Min-max-optimization-algorithm-for-training-GANs. `paper_sign` and `restore_both` lead from it to the paper's
        rule, for experiments.
    """

    ascent_steps: int = 6
    accept_every: int | None = 4
    paper_sign: bool = False
    restore_both: bool = False

    def __post_init__(self) -> None:
        for name in ("ascent_steps", "accept_every"):
            number = getattr(self, name)
            require(number is None or number >= 1, name, number, "an integer ≥ 1")

    @property
    def traceable(self) -> bool:
        """Whether the ascent is short enough to be unrolled in a traced step."""
        return self.ascent_steps <= LONGEST_UNROLLED

    def check(self, game: Game, field: Field) -> None:
        """Raise `InvalidValue` unless the game has two players."""
        del field
        require_two_players(game)

    def draws(self, players: tuple[str, ...]) -> int:
        """Return one batch per ascent step; the proposal shares the first."""
        del players
        return self.ascent_steps

    def gradient_evaluations(self, field: Field, players: tuple[str, ...]) -> int:
        """Return the cost of the joint first evaluation and of the further ascent steps."""
        further = (self.ascent_steps - 1) * field.gradient_evaluations((players[1],), players)
        return field.gradient_evaluations(players, players) + further

    def initial(self, context: StepContext, vectors: Vectors, buffers: Buffers, generator: torch.Generator) -> Tree:
        """Return the value to compare with, which accepts the first proposal."""
        vector = next(iter(vectors.values()))
        first = -torch.inf if self.paper_sign else torch.inf
        return {"value": torch.full((), first, device=vector.device, dtype=vector.dtype)}

    def __call__(
        self, context: StepContext, state: State, batches: tuple[Batch, ...], noise: NoisePerBatch
    ) -> tuple[State, Info]:
        """Return the state after one proposal, accepted or rejected."""
        before, (minimizer, maximizer) = state, context.game.players
        first, state = context.evaluate(state, batches[0])
        state, latest = context.advance(state, first.field, noise[0]), first
        for batch, noise_of_turn in zip(batches[1:], noise[1:], strict=True):
            latest, state = context.evaluate(state, batch, (maximizer,))
            state = context.advance(state, latest.field, noise_of_turn)
        new, old = latest.losses[maximizer], before.memory["scheme"]["value"]
        accepted = (new > old) if self.paper_sign else (new <= old)
        if self.accept_every is not None:
            accepted = accepted | (before.t % self.accept_every == 0)
        restored = (minimizer, maximizer) if self.restore_both else (minimizer,)
        vectors = {**state.vectors, **{name: before.vectors[name] for name in restored}}
        vectors = select(accepted, state.vectors, vectors)
        after = state.after(vectors=vectors, memory={**state.memory, "scheme": {"value": new.to(old.dtype)}})
        info = step_info(first, latest)
        extra = {"accepted": accepted.to(old.dtype), "value": -old, "proposed_value": -new}
        return after, Info(info.losses, info.gradient_norm, extra=info.extra | extra)
