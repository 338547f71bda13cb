"""Toys of SGAN's paper, and what its global pair and its local ones look like at moments of a training."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from detente.data.base import Data
from detente.data.gaussian_mixture import Ring
from detente.experiments.base import Track
from detente.experiments.training import trained
from detente.games.adversarial import Adversarial
from detente.metrics.base import Metric
from detente.networks.mlp import MLP
from detente.penalties.gradient_penalty import GradientPenalty
from detente.probe import Subject
from detente.schemes.sgan import Sgan, locals_of
from detente.state import State
from detente.training.run import Run

RADIUS, SIGMA = 2**0.5, 0.1
DATA = f"The paper gives no sizes: Gaussians on a circle of radius √2 have σ = {SIGMA}; the penalty's λ is 0.1."
RATE = (
    "Laptop's learning rate is the smaller of 1e-3 and 3e-3 at which single regular pairs reach the data in 400 steps, "
    "on seeds 900 to 904, which no experiment uses."
)
SAMPLES, POINTS, RESOLUTION, REACH = 512, 256, 40, 2.2


def ring(modes: int) -> Ring:
    """Return the mixture of as many Gaussians on a circle, drawn independently."""
    return Ring(modes, SIGMA, RADIUS, "random")


def toy(data: Data, wasserstein: bool, width: int, latent: int, batch: int) -> Adversarial:
    """Return the paper's game for points: four linear layers and LeakyReLU in both networks.

    Args:
        data: points in the plane.
        wasserstein: WGAN-GP; else the non-saturating GAN.
        width: units in a hidden layer; the paper has 512.
        latent: length of a latent vector; the paper has 100.
        batch: samples in a batch.
    """
    network = partial(MLP, width=width, depth=3, activation="leaky_relu")
    networks = partial(network, latent, 2), partial(network, 2, 1)
    if wasserstein:
        return Adversarial(*networks, data, latent, "wasserstein", (GradientPenalty(0.1),), batch)
    return Adversarial(*networks, data, latent, "non_saturating", (), batch)


def looked(
    run: Run, directory: Path, moments: Sequence[int], metrics: Mapping[str, Metric], track: Track
) -> dict[int, dict[str, np.ndarray]]:
    """Train to each moment in turn, and return what was seen there; it is kept in files, so seen only once.

    Args:
        run: the training; its number of steps is replaced by the moments.
        directory: for its run directory and the files.
        moments: steps, ascending.
        metrics: what is measured, by name.
        track: shows how far it has come.

    Returns:
        By moment: each metric, `samples` (POINTS) and `levels` (scores on a grid), (seeds, 1 + pairs, …), the global
        pair first; and the points `real`.
    """
    found = {}
    directory.mkdir(parents=True, exist_ok=True)
    for step in moments:
        path = directory / f"seen-{step}.npz"
        if not path.exists():
            last = max(moments)  # measured and kept where a part ends
            part = replace(run, steps=step, record_every=-(-last // 20), measure_every=last, checkpoint_every=last)
            done = trained(part, directory / "run", track)
            seen = [_seen(run, done.states[seed], seed, metrics) for seed in run.seeds]
            real = _game(run).data.draw(POINTS, torch.Generator().manual_seed(0))["real"].numpy()
            partial_file = path.with_suffix(".tmp")
            with partial_file.open("wb") as file:
                np.savez(
                    file,
                    allow_pickle=False,
                    **{name: np.stack([one[name] for one in seen]) for name in seen[0]},
                    real=real,
                )
            partial_file.replace(path)
        with np.load(path) as file:
            found[step] = {name: file[name] for name in file.files}
    return found


def grid(reach: float = REACH) -> Tensor:
    """Return the points at which scores are looked at, (RESOLUTION², 2), row by row from below."""
    axis = torch.linspace(-reach, reach, RESOLUTION)
    return torch.cartesian_prod(axis, axis)[:, [1, 0]]


def _seen(run: Run, state: State, seed: int, metrics: Mapping[str, Metric]) -> dict[str, np.ndarray]:
    game = _game(run)
    pairs = [state, *(locals_of(state) if isinstance(run.method.scheme, Sgan) else [])]
    told: dict[str, list] = {name: [] for name in (*metrics, "samples", "levels")}
    for index, pair in enumerate(pairs):
        subject = Subject(game, pair, torch.Generator().manual_seed(seed * 1_000 + index), SAMPLES)
        for name, metric in metrics.items():
            told[name].append(metric(subject))
        told["samples"].append(subject.samples[:POINTS].numpy())
        told["levels"].append(game.scores(pair, grid()).reshape(RESOLUTION, RESOLUTION).numpy())
    return {name: np.array(values) for name, values in told.items()}


def _game(run: Run) -> Adversarial:
    assert isinstance(run.game, Adversarial)
    return run.game
