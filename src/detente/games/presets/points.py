"""Standard games on points in the plane, each with the networks and settings of the papers that use it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

from torch import nn

from detente.data.base import Data
from detente.data.fixed_mixture import FixedMixture
from detente.data.gaussian_mixture import FourGaussians, Grid, Ring
from detente.data.swiss_roll import SwissRoll
from detente.filters.base import Filter
from detente.game import Game
from detente.games.adversarial import Adversarial
from detente.networks.mlp import MLP
from detente.objectives.base import Objective
from detente.penalties.base import Penalty


def ring(
    modes: int = 8,
    standard_deviation: float = 0.01,
    radius: float = 1.0,
    width: int = 16,
    depth: int = 4,
    latent: int = 16,
    objective: Objective | str = "non_saturating",
    penalties: Sequence[Penalty] = (),
    batch: int = 512,
    filter: Filter | None = None,
    points: int | None = None,
) -> Game:
    """Gaussians on a ring, with two small networks, as in The Numerics of GANs.

    Args:
        modes: number of Gaussians, ≥ 1.
        standard_deviation: standard deviation of each Gaussian, > 0.
        radius: radius of the ring, > 0.
        width: units in a hidden layer.
        depth: number of hidden layers.
        latent: length of a latent vector.
        objective: a member of `detente.objectives` or its name.
        penalties: members of `detente.penalties`.
        batch: samples in a batch.
        filter: a member of `detente.filters`; default none.
        points: number of points that are drawn once, each with its own latent, so that the losses are finite sums (for
            `svrg`, `svre`, `full_batch`); default: new points for every batch.

    Source: Mescheder, Nowozin & Geiger 2017, The Numerics of GANs, section 5.1 (batch size from its notebook).
    """
    data: Data = Ring(modes=modes, standard_deviation=standard_deviation, radius=radius)
    if points is not None:
        data = FixedMixture(data, points)
    return _points(data, width, depth, latent, objective, penalties, batch, filter)


def grid(
    width: int = 128,
    depth: int = 3,
    latent: int = 16,
    objective: Objective | str = "non_saturating",
    penalties: Sequence[Penalty] = (),
    batch: int = 256,
    filter: Filter | None = None,
) -> Game:
    """25 Gaussians on a grid.

    Args:
        width: units in a hidden layer.
        depth: number of hidden layers.
        latent: length of a latent vector.
        objective: a member of `detente.objectives` or its name.
        penalties: members of `detente.penalties`.
        batch: samples in a batch.
        filter: a member of `detente.filters`; default none.

    Source: Gulrajani et al. 2017 (arXiv:1704.00028), figure 3; Lin et al. 2018, PacGAN.
    """
    return _points(Grid(), width, depth, latent, objective, penalties, batch, filter)


def swiss_roll(
    width: int = 128,
    depth: int = 3,
    latent: int = 16,
    objective: Objective | str = "non_saturating",
    penalties: Sequence[Penalty] = (),
    batch: int = 256,
) -> Game:
    """The swiss roll, a spiral in the plane.

    Args:
        width: units in a hidden layer.
        depth: number of hidden layers.
        latent: length of a latent vector.
        objective: a member of `detente.objectives` or its name.
        penalties: members of `detente.penalties`.
        batch: samples in a batch.

    Source: Gulrajani et al. 2017 (arXiv:1704.00028), figure 3.
    """
    return _points(SwissRoll(), width, depth, latent, objective, penalties, batch)


def four_gaussians(legacy_weights: bool = False, batch: int = 512) -> Game:
    """Four Gaussians, with the networks of the accept-reject papers and the saturating objective.

    Args:
        legacy_weights: use weights 2/5, 1/5, 1/5, 1/5, which the reference code uses by accident.
        batch: samples in a batch.

    Source: Mangoubi, Sachdeva & Vishnoi 2020; Keswani et al. 2022, section 6.
    """
    network = partial(MLP, width=128, depth=2, initialisation="orthogonal", gain=0.8)
    return Adversarial(
        partial(network, 256, 2), partial(network, 2, 1), FourGaussians(legacy_weights), 256, "minimax", (), batch
    )


def _points(
    data: Data,
    width: int,
    depth: int,
    latent: int,
    objective: Objective | str,
    penalties: Sequence[Penalty],
    batch: int,
    filter: Filter | None = None,
) -> Adversarial:
    network: Callable[..., nn.Module] = partial(
        MLP, width=width, depth=depth, activation="relu", initialisation="xavier_uniform"
    )
    generator, discriminator = partial(network, latent, 2), partial(network, 2, 1)
    fixed = data.size is not None  # a fixed set of points comes with fixed latents
    return Adversarial(generator, discriminator, data, latent, objective, penalties, batch, fixed, filter)
