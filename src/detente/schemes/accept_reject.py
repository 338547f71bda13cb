"""Propose a move, let the other player answer it, and keep both only if that was worth it."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from detente.autodiff.tracing import is_eager
from detente.errors import require
from detente.fields.base import Field
from detente.game import Batch, Buffers, Game, Vectors
from detente.schedule import Schedule, value
from detente.schemes.base import Noise, NoisePerBatch, Scheme, StepContext, select, step_info
from detente.state import Info, State, Tree

LONGEST_UNROLLED = 20  # a traced step holds every move of the ascent: with more, compiling would take minutes


@dataclass(frozen=True)
class AcceptReject(Scheme):
    """Accept–reject min-max: x' = x − η v_x, w = k ascents of f(x', ·) from y; (x, y) ← (x', w) if f(x', w) < f(x, y).

    f = −L_y is the max player's value, which in a zero-sum game is the min player's loss. The first proposal is always
    accepted, since nobody has answered x yet (the code's f_old is large at first). Later ones that do not decrease f by
    more than δ are rejected, which restores both players, buffers and every memory, unless accepted anyway. Proposal
    and ascents have a batch each; f(x, y) and f(x', w) are compared on the same batches, without differentiation.

    The authors' code differs: it compares values on different batches, never rolls Adam's moments back, on the mixture
    of Gaussians restores the generator alone and accepts where the discriminator's loss falls (the opposite rule), and
    proposes with the non-saturating loss on images while it judges by f, as here with that objective.

    Args:
        ascent_steps: k, moves of the max player, ≥ 1; with `tolerance` at most so many.
        tolerance: ε, ≥ 0: the max player stops where ‖v_y‖ ≤ ε, or where its moves end at the edge of the allowed set.
        decrease: δ, ≥ 0: by how much f must decrease.
        accept_anyway: probability of accepting in spite of that, in [0, 1], or a schedule (e^(−t/τ) is
            `Exponential(1, 0.3679, τ)`; the code's slow one is `Annealed()`).
        accept_every: steps 0, r, 2r, … are accepted in spite of that; None: none.
        evaluation_batches: number of batches over which f is averaged, ≥ 1.
        spread: s, > 0: proposals are random, x' = x − s z with standard normal z; None: by gradient and optimizer.
        patience: after so many rejections in a row, ≥ 1, nothing moves any more; None: never.
        maximizer: the max player; default the second of the game's two.

    Source: Mangoubi, Sachdeva & Vishnoi 2020 (arXiv:2006.12376), with its blog post From Theory to Practice; Keswani,
        Mangoubi, Sachdeva & Vishnoi 2022, A Convergent and Dimension-Independent Min-Max Optimization Algorithm.
    """

    ascent_steps: int = 6
    tolerance: float = 0.0
    decrease: float = 0.0
    accept_anyway: float | Schedule = 0.0
    accept_every: int | None = None
    evaluation_batches: int = 1
    spread: float | None = None
    patience: int | None = None
    maximizer: str | None = None

    def __post_init__(self) -> None:
        for name in ("ascent_steps", "evaluation_batches", "accept_every", "patience"):
            number = getattr(self, name)
            require(number is None or number >= 1, name, number, "an integer ≥ 1")
        for name in ("tolerance", "decrease"):
            number = getattr(self, name)
            require(math.isfinite(number) and number >= 0, name, number, "a finite number ≥ 0")
        anyway, spread = self.accept_anyway, self.spread
        probable = isinstance(anyway, Schedule) or 0 <= anyway <= 1
        require(probable, "accept_anyway", anyway, "a probability, in [0, 1], or a schedule")
        positive = spread is None or (math.isfinite(spread) and spread > 0)
        require(positive, "spread", spread, "a finite number > 0, or None for proposals by gradient")

    @property
    def traceable(self) -> bool:
        """Whether the ascent is short enough to be written out."""
        return self.ascent_steps <= LONGEST_UNROLLED

    def check(self, game: Game, field: Field) -> None:
        """Raise `InvalidValue` unless there are two players, the max player among them."""
        del field
        require(len(game.players) == 2, "game", game.players, "a game of two players")
        allowed = f"one of {', '.join(game.players)}, or None for the second"
        require(self.maximizer in (None, *game.players), "maximizer", self.maximizer, allowed)

    def draws(self, players: tuple[str, ...]) -> int:
        """Return one batch for the proposal, one for each ascent, and those on which f is compared."""
        del players
        return 1 + self.ascent_steps + self.evaluation_batches

    def gradient_evaluations(self, field: Field, players: tuple[str, ...]) -> int:
        """Return the cost of the proposal and of all ascents; values of f are no gradients, and not counted."""
        minimizer, maximizer = self._sides(players)
        ascent = field.gradient_evaluations((maximizer,), players)
        return field.gradient_evaluations((minimizer,), players) + self.ascent_steps * ascent

    def random(self, vectors: Vectors, generator: torch.Generator) -> Noise:
        """Return a uniform number, (), where chance may accept, and the random proposal, (n_x,), if it is one."""
        numbers: Noise = {}
        if self.accept_anyway != 0:
            numbers["accept"] = torch.rand((), generator=generator, device=generator.device)
        if self.spread is not None:
            x = vectors[self._sides(tuple(vectors))[0]]
            numbers["proposal"] = torch.randn(x.shape, generator=generator, device=generator.device, dtype=x.dtype)
        return numbers

    def initial(self, context: StepContext, vectors: Vectors, buffers: Buffers, generator: torch.Generator) -> Tree:
        """Return the number of rejections in a row, where it matters."""
        device = next(iter(vectors.values())).device
        return {} if self.patience is None else {"rejections": torch.zeros((), dtype=torch.int64, device=device)}

    def __call__(
        self, context: StepContext, state: State, batches: tuple[Batch, ...], noise: NoisePerBatch
    ) -> tuple[State, Info]:
        """Return the state after one proposal, kept or not."""
        minimizer, maximizer = self._sides(context.game.players)
        before, judged = state, batches[1 + self.ascent_steps :]
        evaluation, state = context.evaluate(state, batches[0], (minimizer,))
        if self.spread is None:
            state = context.advance(state, evaluation.field, noise[0])
        else:
            proposal = state.vectors[minimizer] - self.spread * noise[0]["proposal"]
            state = replace(state, vectors=context.game.project({**state.vectors, minimizer: proposal}))
        state, answer = self._answered(context, state, batches[1:], noise[1:], maximizer)
        old, new = (
            -torch.stack([context.loss(at, batch, maximizer) for batch in judged]).mean(0) for at in (before, state)
        )
        accepted, memory = self._accepted(before, new < old - self.decrease, noise[0])
        after = State(**select(accepted, state.tree(), before.tree()))
        after = after.after(memory={**after.memory, "scheme": memory})
        info = step_info(evaluation)
        extra = {"accepted": accepted.to(old.dtype), "value": old, "proposed_value": new}
        if self.patience is not None:
            extra["stopped"] = self._stopped(after).to(old.dtype)
        norms = info.gradient_norm | answer.gradient_norm
        return after, Info(info.losses | answer.losses, norms, extra=info.extra | answer.extra | extra)

    def _sides(self, players: tuple[str, ...]) -> tuple[str, str]:
        """Return the min player and the max player."""
        maximizer = self.maximizer or players[1]
        return next(name for name in players if name != maximizer), maximizer

    def _stopped(self, state: State) -> Tensor:
        """Return whether the patience is at its end, bool ()."""
        if self.patience is None:
            return torch.zeros_like(state.t, dtype=torch.bool)
        return state.memory["scheme"]["rejections"] >= self.patience

    def _answered(
        self, context: StepContext, state: State, batches: tuple[Batch, ...], noise: NoisePerBatch, player: str
    ) -> tuple[State, Info]:
        """Return the state after the max player's ascent, and what its last evaluation told."""
        climbing, info = ~self._stopped(state), None
        for batch, noise_of_turn in zip(batches[: self.ascent_steps], noise, strict=False):
            evaluation, trial = context.evaluate(state, batch, (player,))
            trial = context.advance(trial, evaluation.field, noise_of_turn)
            latest = step_info(evaluation)
            if self.tolerance == 0:
                state, info = trial, latest
                continue
            info = latest if info is None else Info(**select(climbing, latest.tree(), info.tree()))
            climbing = climbing & (latest.gradient_norm[player] > self.tolerance)
            moved = State(**select(climbing, trial.tree(), state.tree()))
            # Pushed against the edge of the allowed set, a player stands still with a slope that does not vanish.
            climbing = climbing & (moved.vectors[player] != state.vectors[player]).any()
            state = moved
            if is_eager(climbing) and not bool(climbing):
                break
        assert info is not None
        return state, info

    def _accepted(self, before: State, better: Tensor, noise: Noise) -> tuple[Tensor, Tree]:
        """Return whether the proposal is accepted, bool (), and the scheme's memory after that."""
        t, memory = before.t, before.memory["scheme"]
        accepted = better | (t == 0)
        if self.accept_every is not None:
            accepted = accepted | (t % self.accept_every == 0)
        if self.accept_anyway != 0:
            accepted = accepted | (noise["accept"] < value(self.accept_anyway, t))
        if self.patience is None:
            return accepted, memory
        accepted = accepted & ~self._stopped(before)
        rejections = torch.where(accepted, torch.zeros_like(t), memory["rejections"] + 1)
        return accepted, {"rejections": rejections}
