"""The cost of a step of each method, in time and gradients, relative to a simultaneous gradient step."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch

from benchmarks.row import Row, milliseconds
from benchmarks.timing import interleave, threads
from detente import methods
from detente.data.arrays import Arrays
from detente.data.gaussian_mixture import Ring
from detente.game import Game
from detente.games.adversarial import Adversarial
from detente.methods.method import Method
from detente.networks.mlp import MLP
from detente.optimizers.adam import Adam
from detente.training.step import Steps, draw

WIDTH, DEPTH, LATENT, BATCH, SAMPLES = 128, 3, 16, 256, 25_600


@dataclass(frozen=True)
class Candidate:
    """A method with its target in units of a simultaneous step of the same game.

    The game is zero-sum, which every method accepts, unless the method's paper uses another loss.
    """

    make_method: Callable[[], Method]
    target: float | None
    objective: str = "minimax"


def _adam() -> Adam:
    return Adam(1e-4)


CANDIDATES = {
    "alternating": Candidate(lambda: methods.alternating(optimizer=_adam()), None),
    "alternating_shared_batch": Candidate(lambda: methods.alternating_shared_batch(optimizer=_adam()), None),
    "consensus": Candidate(lambda: methods.consensus(optimizer=_adam()), 2.6),
    "extragradient": Candidate(lambda: methods.extragradient(optimizer=_adam()), 2.1),
    "svre (without its snapshots)": Candidate(lambda: methods.svre(), None),
    "svrg (without its snapshots)": Candidate(lambda: methods.svrg(), 2.2),
    "svrg, its paper's loss": Candidate(lambda: methods.svrg(), 2.2, "non_saturating"),
    "svrg_shared_batch (without its snapshots)": Candidate(lambda: methods.svrg_shared_batch(), 2.2),
    "svrg_shared_batch, its paper's loss": Candidate(lambda: methods.svrg_shared_batch(), 2.2, "non_saturating"),
    "accept_reject, one ascent step": Candidate(lambda: methods.accept_reject(ascent_steps=1), 2.5),
    "covariance_langevin, diagonal": Candidate(lambda: methods.covariance_langevin(), 3.0),
    "competitive": Candidate(lambda: methods.competitive(), None),
    "follow_the_ridge": Candidate(lambda: methods.follow_the_ridge(), None),
    "unrolled, five steps": Candidate(lambda: methods.unrolled(), None),
    "symplectic_adjustment": Candidate(lambda: methods.symplectic_adjustment(), None),
}


def run(quick: bool) -> list[Row]:
    """Return each method's eager time in units of a simultaneous step, and its relative number of gradients."""
    rows = []
    with threads(1):
        for name, candidate in CANDIDATES.items():
            game = _game(candidate.objective)
            method, simultaneous = candidate.make_method(), methods.simultaneous(optimizer=_adam())
            candidates = {"simultaneous": repeated_steps(game, simultaneous), "method": repeated_steps(game, method)}
            timing = interleave(candidates, rounds=7 if quick else 31)
            method_gradients = method.scheme.gradient_evaluations(method.field, game.players)
            relative_gradients = method_gradients / simultaneous.gradient_evaluations(game)
            rows.append(
                Row.of(
                    f"{name}",
                    timing.ratio("method", "simultaneous"),
                    target=candidate.target,
                    detail=f"{milliseconds(timing.median('method'))}; {relative_gradients:g} by count of gradients",
                )
            )
    return rows


def _game(objective: str) -> Game:
    """Return a game with finite sums and without BatchNorm."""
    points = Ring().draw(SAMPLES, torch.Generator().manual_seed(0))["real"]

    def network(inputs: int, outputs: int) -> Callable[[], MLP]:
        return lambda: MLP(inputs, outputs, WIDTH, DEPTH)

    return Adversarial(
        network(LATENT, 2), network(2, 1), Arrays(points), LATENT, objective, batch=BATCH, fixed_latents=True
    )


def repeated_steps(game: Game, method: Method) -> Callable[[], None]:
    """Return a function that makes one step of a training."""
    generator = torch.Generator().manual_seed(0)
    state = method.prepare(game, method.initial(game, generator), generator)
    steps = Steps(game, method)

    def run_step() -> None:
        nonlocal state
        (state,), _ = steps([state], [[draw(game, method, state, generator)]], donate=True)

    return run_step
