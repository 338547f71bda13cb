"""Whether the game rotates at its present point."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from detente.autodiff import transposed_jacobian
from detente.checks.base import Finding
from detente.game import Batch
from detente.games.adversarial import Adversarial
from detente.signals.base import History, Observation, Signal, finite, measured

DIRECTIONS = 5  # of the Krylov space, in addition to each player's own gradient
SMALL = 50_000  # parameters up to which a Krylov space is cheap
FEW = 8  # samples in the batch of larger games


@dataclass(frozen=True)
class Rotation(Signal):
    """Eigenvalues λ of the game's Jacobian in a small space, and the angle between the path and the field.

    The space is spanned by each player's gradient and, in small games, products of the Jacobian with them (Arnoldi).
    `imaginary_share` is the largest |Im λ|/|λ| of eigenvalues of at least 1 % of the largest size. `path_angle` is the
    cosine between the last move and −v: 1 is straight descent, 0 rotation.

    Args:
        turning: imaginary share from which rotation dominates.

    Source: Mescheder, Nowozin & Geiger 2017, The Numerics of GANs (arXiv:1705.10461), section 3; Berard et al. 2019
        (arXiv:1906.04848), section 4.
    """

    turning: float = 0.98

    def __call__(self, observation: Observation) -> Mapping[str, float]:
        """Return the share, and the real and imaginary part of the eigenvalue with the largest imaginary part."""
        game, state, names = observation.game, observation.state, observation.game.players
        blocks = {name: observation.gradients[role].field[name] for role, name in observation.players().items()}
        if set(blocks) != set(names):
            return {}
        values: dict[str, float] = {}
        if observation.before is not None and observation.steps:
            move = torch.cat([(state.vectors[name] - observation.before[name]).double() for name in names])
            v = torch.cat([blocks[name].double() for name in names])
            values["path_angle"] = float(-(move @ v) / (move.norm() * v.norm()).clamp(min=1e-300))
        if observation.skipped:
            return measured(values)
        small = sum(map(len, blocks.values())) <= SMALL
        product = transposed_jacobian(game, state.vectors, state.buffers, self._batch(observation, small))
        starts = [
            torch.cat([blocks[name] if name == player else torch.zeros_like(blocks[name]) for name in names])
            for player in names
        ]
        if any(float(start.norm()) == 0 for start in starts):
            return measured(values)
        eigenvalues = _eigenvalues(product, starts, DIRECTIONS if small else 0)
        sizes = np.abs(eigenvalues)
        if not sizes.size or sizes.max() == 0:
            return measured(values)
        counted = eigenvalues[sizes >= 0.01 * sizes.max()]
        most = counted[np.abs(counted.imag).argmax()]
        share = np.abs(counted.imag) / np.abs(counted)
        return measured({**values, "imaginary_share": share.max(), "imaginary": abs(most.imag), "real": most.real})

    def findings(self, history: History) -> Sequence[Finding]:
        """Return a limit cycle: rotation, with samples that do not come nearer and a path that does not descend."""
        shares, angles = (finite(history.late(f"rotation.{x}")) for x in ("imaginary_share", "path_angle"))
        swings = np.ptp(finite(history.late("oscillation.mean_0"))) if "oscillation.mean_0" in history else math.nan
        if min(len(shares), len(angles)) < 4 or not history.stuck:
            return []
        if np.median(shares) < self.turning or np.median(angles) > 0.1 or not swings > 0.8:
            return []
        evidence = (
            f"The game rotates: |Im λ|/|λ| is {np.median(shares):.2f}, the path makes an angle of cosine "
            f"{np.median(angles):.2f} with the descent, and the samples' mean swings by {swings:.2g} deviations."
        )
        remedy = "Use method extragradient, consensus or lookahead, or penalties R1."
        return [Finding("oscillation or limit cycle", evidence, 0.6, remedy)]

    def _batch(self, observation: Observation, small: bool) -> Batch:
        game = observation.game
        if small or not isinstance(game, Adversarial) or game.batch <= FEW:
            return observation.batch
        generator = torch.Generator().manual_seed(23)
        return game.with_step(game.complete(game.data.draw(FEW, generator), generator), observation.state.t)


def _eigenvalues(product: Callable[[Tensor], Tensor], starts: Sequence[Tensor], more: int) -> Any:
    """Return the eigenvalues of a matrix, given by its products, in the space of some vectors and of products."""
    basis: list[Tensor] = []
    images: list[Tensor] = []
    queue = [start.double() / start.double().norm() for start in starts]
    dtype = starts[0].dtype
    while queue and len(basis) < len(starts) + more:
        vector = queue.pop(0)
        for _ in range(2):  # twice, for orthogonality in the presence of rounding
            for other in basis:
                vector = vector - (other @ vector) * other
        if float(vector.norm()) < 1e-4:
            continue
        vector = vector / vector.norm()
        image = product(vector.to(dtype)).double()
        basis.append(vector)
        images.append(image)
        if float(image.norm()) > 0:
            queue.append(image / image.norm())
    if not basis:
        return np.zeros(0, complex)
    space = torch.stack(basis)
    return np.linalg.eigvals((space @ torch.stack(images).T).numpy())
