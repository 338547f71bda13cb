"""The Numerics of GANs, eq. 10: the step-size bound against the step at which training begins to diverge."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from detente.autodiff import jacobian
from detente.diagnostics.step_size_bound import step_size_bound
from detente.experiments.base import Claim, Experiment, Findings, Track
from detente.experiments.support.interval_estimate import Estimate, within
from detente.fields.gradient import Gradient
from detente.game import Game
from detente.games.dirac_gan import DiracGAN
from detente.games.quadratic import Quadratic
from detente.methods.method import Method
from detente.optimizers.sgd import SGD
from detente.penalties.r1 import R1
from detente.schemes.simultaneous import Simultaneous

if TYPE_CHECKING:
    from matplotlib.figure import Figure

DIVERGED, CONVERGED = 10.0, 0.1  # a training ends when its distance reaches one of these multiples of the first


class NumericsStepSize(Experiment):
    """Simultaneous gradient with SGD, with steps below and above the bound."""

    title = "The largest stable step: predicted from eigenvalues, and measured by training"
    paper = "Mescheder, Nowozin & Geiger 2017, The Numerics of GANs"
    figure = "Lemma 4, eq. 10"
    deviations = (
        "The paper proves the bound; here training is run, and the step is halved in until it is known. Each seed has "
        "a random linear game, and a Dirac-GAN with R1 of a strength between 0.3 and 3.",
    )
    tried = "Means of 20 linear games and three Dirac-GANs left the threshold in their intervals; now a game a seed."
    sizes = {
        "smoke": {"halvings": 4, "steps": 300, "seeds": 2},
        "laptop": {"halvings": 7, "steps": 2000, "seeds": 20},
        "paper": {"halvings": 12, "steps": 20_000, "seeds": 200},
    }
    claims = (
        Claim(
            "Training converges below the bound and diverges above it: measured ÷ predicted step, random linear games",
            lambda findings: Estimate.median([measured / bound for _, bound, measured in findings["linear"]]),
            within(0.97, 1.03),
            "1",
        ),
        Claim(
            "… and near the equilibrium of a non-linear game, the Dirac-GAN with R1",
            lambda findings: Estimate.median([measured / bound for _, bound, measured in findings["dirac"]]),
            within(0.97, 1.03),
            "1",
        ),
    )

    def conduct(self, folder: Path, track: Track, **size: Any) -> Findings:
        """Return the quotient |Im/Re|, the predicted and the measured step of every game."""
        findings: Findings = {"linear": [], "dirac": []}
        for seed in track(size["seeds"], "games", len(size["seeds"])):
            generator = torch.Generator().manual_seed(seed)
            strength = 0.3 * 10 ** float(torch.rand((), generator=generator))
            games = {
                "linear": _random_linear_game(generator),
                "dirac": DiracGAN(penalty=R1(strength), start=(1e-3, 1e-3)),
            }
            for kind, game in games.items():
                findings[kind].append(_measure_step(game, size["halvings"], size["steps"]))
        return findings

    def draw(self, findings: Findings, figure: Figure) -> None:
        """Plot measured against predicted steps."""
        axes = figure.add_subplot(1, 1, 1, xscale="log", yscale="log")
        for kind, colour in (("linear", "C0"), ("dirac", "C1")):
            quotients, bounds, measured = np.array(findings[kind]).T
            axes.scatter(bounds, measured, s=20, color=colour, label=f"{kind} games")
        ends = axes.get_xlim()
        axes.plot(ends, ends, color="0.6", lw=1)
        axes.set(xlabel="bound: min 2 Re λ/|λ|²", ylabel="step at which training begins to diverge")
        axes.legend()


def _random_linear_game(generator: torch.Generator) -> Game:
    n = int(torch.randint(1, 4, (), generator=generator))
    coupling = 10 ** float(torch.rand((), generator=generator) * 2 - 1)
    diagonals = [torch.diag(0.05 + torch.rand(n, generator=generator, dtype=torch.float64)) for _ in range(2)]
    return Quadratic(diagonals[0], coupling * torch.randn(n, n, generator=generator, dtype=torch.float64), diagonals[1])


def _measure_step(game: Game, halvings: int, steps: int) -> tuple[float, float, float]:
    vectors, buffers = game.initial(torch.Generator().manual_seed(1))
    assert game.solution is not None
    eigenvalues = torch.linalg.eigvals(jacobian(game, game.solution, buffers, game.draw(torch.Generator())))
    bound = step_size_bound(eigenvalues)
    low, high = bound / 2, bound * 2
    for _ in range(halvings):
        middle = (low * high) ** 0.5
        low, high = (middle, high) if _converges(game, middle, steps) else (low, middle)
    return float((eigenvalues.imag.abs() / eigenvalues.real).max()), bound, (low * high) ** 0.5


def _converges(game: Game, rate: float, steps: int) -> bool:
    """Return whether training reduces the distance to the solution."""
    method = Method(Gradient(), Simultaneous(), SGD(rate))
    generator = torch.Generator().manual_seed(1)
    state = method.initial(game, generator)
    initial_distance = distance = float(torch.cat(list(state.vectors.values())).norm())
    for step in range(steps):
        state, _ = method.step(game, state, (game.draw(generator),))
        if step % 20 == 19:
            distance = float(torch.cat(list(state.vectors.values())).norm())
            if not CONVERGED < distance / initial_distance < DIVERGED:
                break
    return distance < initial_distance
