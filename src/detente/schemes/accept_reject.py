"""Propose a move of the min player, let the max player respond, and keep both moves only if the value improves."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from detente.autodiff.tracing import is_eager
from detente.errors import require
from detente.fields.base import Field
from detente.game import Batch, Buffers, Game, Vectors, require_two_players
from detente.ranks import divides_memory, of_parts
from detente.schedules.base import Schedule, require_at_least_zero, value
from detente.schemes.base import Noise, NoisePerBatch, Scheme, StepContext, select, step_info
from detente.state import Info, State, Tree

LONGEST_UNROLLED = 20  # a traced step contains every move of the ascent: with more, compiling would take minutes


@dataclass(frozen=True)
class AcceptReject(Scheme):
    """Accept–reject min-max: x' = x − η v_x, w = k ascents of f(x', ·) from y; (x, y) ← (x', w) if f(x', w) < f(x, y).

    f = −L_y is the max player's value, which in a zero-sum game is the min player's loss. The first proposal is always
    accepted, since the max player has not responded to x yet (in the code, f_old is large at first). Later proposals
    that do not decrease f by more than δ are rejected unless `accept_anyway` or `accept_every` applies. A rejection
    restores both players, the buffers and all memory. The proposal and each ascent step use a batch each; f(x, y) and
    f(x', w) are compared on the same batches, without differentiation.

    The authors' code differs in four ways. It compares values on different batches. It never rolls Adam's moments
    back. On the mixture of Gaussians it restores only the generator, and it accepts when the discriminator's loss falls
    (the opposite rule). On images it proposes with the non-saturating loss but decides by f, as this scheme does with
    that objective.

    Args:
        ascent_steps: k, moves of the max player, ≥ 1; with `tolerance` > 0, the maximum.
        tolerance: ε, ≥ 0, or a schedule: the max player stops when ‖v_y‖ ≤ ε, or when it reaches the boundary of the
            allowed set.
        decrease: δ, ≥ 0, or a schedule: the decrease of f required for acceptance.
        accept_anyway: probability of accepting without this decrease, in [0, 1], or a schedule (e^(−t/τ) is
            `Exponential(1, 0.3679, τ)`; the code's slow schedule is `Annealed()`).
        accept_every: r: steps 0, r, 2r, … are accepted without this decrease; None for no such steps.
        evaluation_batches: number of batches over which f is averaged, ≥ 1.
        spread: s, > 0, or a schedule: proposals are random, x' = x − s z with standard normal z; None to use gradient
            and optimizer.
        patience: number of consecutive rejections, ≥ 1, after which all moves stop; None to never stop.
        maximizer: the max player. Default: the second player of the game.

    Source: Mangoubi, Sachdeva & Vishnoi 2020 (arXiv:2006.12376), with its blog post From Theory to Practice; Keswani,
        Mangoubi, Sachdeva & Vishnoi 2022, A Convergent and Dimension-Independent Min-Max Optimization Algorithm.
    """

    ascent_steps: int = 6
    tolerance: float | Schedule = 0.0
    decrease: float | Schedule = 0.0
    accept_anyway: float | Schedule = 0.0
    accept_every: int | None = None
    evaluation_batches: int = 1
    spread: float | Schedule | None = None
    patience: int | None = None
    maximizer: str | None = None

    def __post_init__(self) -> None:
        for name in ("ascent_steps", "evaluation_batches", "accept_every", "patience"):
            number = getattr(self, name)
            require(number is None or number >= 1, name, number, "an integer ≥ 1")
        for name in ("tolerance", "decrease"):
            require_at_least_zero(self, name)
        anyway, spread = self.accept_anyway, self.spread
        probable = isinstance(anyway, Schedule) or 0 <= anyway <= 1
        require(probable, "accept_anyway", anyway, "a probability, in [0, 1], or a schedule")
        positive = spread is None or isinstance(spread, Schedule) or (math.isfinite(spread) and spread > 0)
        require(positive, "spread", spread, "a finite number > 0, or None for proposals by gradient")

    @property
    def traceable(self) -> bool:
        """Whether the ascent is short enough to be unrolled in a traced step."""
        return self.ascent_steps <= LONGEST_UNROLLED

    def check(self, game: Game, field: Field) -> None:
        """Raise `InvalidValue` unless the game has two players and the max player is one of them."""
        del field
        require_two_players(game)
        allowed = f"one of {', '.join(game.players)}, or None for the second"
        require(self.maximizer in (None, *game.players), "maximizer", self.maximizer, allowed)

    def draws(self, players: tuple[str, ...]) -> int:
        """Return one batch for the proposal, one per ascent step, and those for the comparison of f."""
        del players
        return 1 + self.ascent_steps + self.evaluation_batches

    def gradient_evaluations(self, field: Field, players: tuple[str, ...]) -> int:
        """Return the cost of the proposal and of all ascent steps; values of f need no gradients and do not count."""
        minimizer, maximizer = self._sides(players)
        ascent = field.gradient_evaluations((maximizer,), players)
        return field.gradient_evaluations((minimizer,), players) + self.ascent_steps * ascent

    def random(self, vectors: Vectors, generator: torch.Generator) -> Noise:
        """Return a uniform number, (), for `accept_anyway`, and standard normal numbers, (n_x,), for `spread`."""
        numbers: Noise = {}
        if self.accept_anyway != 0:
            numbers["accept"] = torch.rand((), generator=generator, device=generator.device)
        if self.spread is not None:
            x = vectors[self._sides(tuple(vectors))[0]]
            numbers["proposal"] = torch.randn(x.shape, generator=generator, device=generator.device, dtype=x.dtype)
        return numbers

    def initial(self, context: StepContext, vectors: Vectors, buffers: Buffers, generator: torch.Generator) -> Tree:
        """Return zero consecutive rejections if there is a `patience`, otherwise empty memory."""
        device = next(iter(vectors.values())).device
        return {} if self.patience is None else {"rejections": torch.zeros((), dtype=torch.int64, device=device)}

    def __call__(
        self, context: StepContext, state: State, batches: tuple[Batch, ...], noise: NoisePerBatch
    ) -> tuple[State, Info]:
        """Return the state after one proposal, accepted or rejected."""
        minimizer, maximizer = self._sides(context.game.players)
        dtype = state.vectors[minimizer].dtype
        before, evaluation_batches = state, batches[1 + self.ascent_steps :]
        evaluation, state = context.evaluate(state, batches[0], (minimizer,))
        if self.spread is None:
            state = context.advance(state, evaluation.field, noise[0])
        else:
            proposal = state.vectors[minimizer] - value(self.spread, state.t, dtype) * noise[0]["proposal"]
            state = replace(state, vectors=context.game.project({**state.vectors, minimizer: proposal}))
        state, ascent_info = self._ascend(context, state, batches[1:], noise[1:], maximizer)
        old, new = (
            -torch.stack([context.loss(at, batch, maximizer) for batch in evaluation_batches]).mean(0)
            for at in (before, state)
        )
        accepted, memory = self._decide(before, new < old - value(self.decrease, state.t, dtype), noise[0])
        after = State(**select(accepted, state.tree(), before.tree()))
        after = after.after(memory={**after.memory, "scheme": memory})
        info = step_info(evaluation)
        extra = {"accepted": accepted.to(old.dtype), "value": old, "proposed_value": new}
        if self.patience is not None:
            extra["stopped"] = self._stopped(after).to(old.dtype)
        norms = info.gradient_norm | ascent_info.gradient_norm
        return after, Info(
            info.losses | ascent_info.losses,
            norms,
            extra=info.extra | ascent_info.extra | extra,
            terms=info.terms | ascent_info.terms,
        )

    def _sides(self, players: tuple[str, ...]) -> tuple[str, str]:
        """Return the min player and the max player."""
        maximizer = self.maximizer or players[1]
        return next(name for name in players if name != maximizer), maximizer

    def _stopped(self, state: State) -> Tensor:
        """Return whether the number of consecutive rejections has reached `patience`, bool ()."""
        if self.patience is None:
            return torch.zeros_like(state.t, dtype=torch.bool)
        return state.memory["scheme"]["rejections"] >= self.patience

    def _ascend(
        self, context: StepContext, state: State, batches: tuple[Batch, ...], noise: NoisePerBatch, player: str
    ) -> tuple[State, Info]:
        """Return the state after the max player's ascent, and the statistics of its last evaluation."""
        climbing, info = ~self._stopped(state), None
        for batch, noise_of_turn in zip(batches[: self.ascent_steps], noise, strict=False):
            evaluation, trial = context.evaluate(state, batch, (player,))
            trial = context.advance(trial, evaluation.field, noise_of_turn)
            latest = step_info(evaluation)
            if self.tolerance == 0:
                state, info = trial, latest
                continue
            info = latest if info is None else Info(**select(climbing, latest.tree(), info.tree()))
            tolerance = value(self.tolerance, state.t, state.vectors[player].dtype)
            norm = latest.gradient_norm[player]
            if divides_memory():  # bitwise as without sharding, since this norm decides
                norm = torch.linalg.vector_norm(of_parts(evaluation.field[player], len(state.vectors[player])))
            climbing = climbing & (norm > tolerance)
            next_state = State(**select(climbing, trial.tree(), state.tree()))
            # At the boundary of the allowed set a player stops moving although its gradient does not vanish.
            climbing = climbing & (next_state.vectors[player] != state.vectors[player]).any()
            state = next_state
            if is_eager(climbing) and not bool(climbing):
                break
        assert info is not None
        return state, info

    def _decide(self, before: State, better: Tensor, noise: Noise) -> tuple[Tensor, Tree]:
        """Return whether the proposal is accepted, bool (), and the scheme's new memory."""
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
