"""The Dirac-GAN, the smallest GAN: each player has one parameter."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from detente.errors import require
from detente.game import Batch, Buffers, Game, Vectors
from detente.objectives.base import Objective
from detente.objectives.non_saturating import NonSaturating
from detente.penalties.base import Penalty


class DiracGAN(Game):
    """The Dirac-GAN: data at 0, generator at θ, discriminator D(x) = ψx, with any objective and penalty.

    Args:
        objective: losses of both players, functions of the scores D(0) = 0 and D(θ) = ψθ.
        penalty: a term added to the discriminator's loss (None: no penalty). R1 gives γψ²/2.
        start: initial (θ, ψ).

    Source: Mescheder, Geiger & Nowozin 2018, Which Training Methods for GANs do actually Converge?
        (arXiv:1801.04406), definition 2.1.
    """

    def __init__(
        self,
        objective: Objective | None = None,
        penalty: Penalty | None = None,
        start: Sequence[float] = (1.0, 1.0),
    ) -> None:
        require(len(start) == 2, "start", list(start), "two numbers, θ and ψ")
        self.objective, self.penalty, self.start = objective or NonSaturating(), penalty, tuple(start)
        self.zero_sum = self.objective.zero_sum and penalty is None
        self.scheduled = self.objective.scheduled or (penalty is not None and penalty.scheduled)
        self.solution = {"generator": torch.zeros(1).double(), "discriminator": torch.zeros(1).double()}

    @property
    def players(self) -> tuple[str, ...]:
        """Generator and discriminator."""
        return ("generator", "discriminator")

    def initial(self, generator: torch.Generator) -> tuple[Vectors, Buffers]:
        """Return the initial point, float64."""
        theta, psi = self.start
        return {"generator": torch.tensor([theta]).double(), "discriminator": torch.tensor([psi]).double()}, {}

    def draw(self, generator: torch.Generator) -> Batch:
        """Return the penalty's random numbers."""
        if self.penalty is None:
            return {}
        return {name: noise.double() for name, noise in self.penalty.draw(torch.Size((1, 1)), generator).items()}

    def losses(
        self, vectors: Vectors, buffers: Buffers, batch: Batch, players: tuple[str, ...] | None = None
    ) -> tuple[dict[str, Tensor], Buffers]:
        """Return both losses, whichever are requested, since they are cheap."""
        objective, penalty = self.objective, self.penalty
        if self.scheduled:
            objective = objective.at(batch["t"], torch.float64)
            penalty = None if penalty is None else penalty.at(batch["t"], torch.float64)
        theta, psi = vectors["generator"], vectors["discriminator"]
        fake, real = psi * theta, psi * 0.0
        losses = {
            "generator": objective.generator_loss(real, fake),
            "discriminator": objective.discriminator_loss(real, fake),
        }
        if penalty is not None:
            score = lambda x: (x * psi).sum(1)  # noqa: E731 - samples (1, 1) to scores (1,)
            sample = theta.reshape(1, 1)
            losses["discriminator"] = losses["discriminator"] + penalty(score, sample * 0.0, sample, batch)
        return losses, buffers
