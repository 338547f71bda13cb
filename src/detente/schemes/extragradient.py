"""Take a trial step, then move from the original point along the field at the trial point."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from detente.fields.base import Field
from detente.game import Batch
from detente.schemes.base import NoisePerBatch, Scheme, StepContext, step_info
from detente.state import Info, State


@dataclass(frozen=True)
class Extragradient(Scheme):
    """A trial step, then a step along the field at the trial point: x½ = x − η v(x; b₁), x ← x − η v(x½; b₂).

    The two batches are independent. An optimizer with memory updates it at both evaluations, so with Adam this is
    ExtraAdam.

    Source: Korpelevich 1976; Gidel et al. 2019, A Variational Inequality Perspective on GANs (arXiv:1802.10551),
        eq. 14 and Algorithms 2 and 4.
    """

    allows_in_place: ClassVar[bool] = True

    def draws(self, players: tuple[str, ...]) -> int:
        """Return two batches: one for the trial step, one for the step."""
        del players
        return 2

    def gradient_evaluations(self, field: Field, players: tuple[str, ...]) -> int:
        """Return two evaluations of the field."""
        return 2 * field.gradient_evaluations(players, players)

    def __call__(
        self, context: StepContext, state: State, batches: tuple[Batch, ...], noise: NoisePerBatch
    ) -> tuple[State, Info]:
        """Return the state after one extragradient step."""
        origin = state.vectors
        first, state = context.evaluate(state, batches[0])
        state = context.advance(state, first.field, noise[0], returns=True)
        second, state = context.evaluate(state, batches[1])
        return context.advance(state, second.field, noise[1], origin=origin).after(), step_info(second)
