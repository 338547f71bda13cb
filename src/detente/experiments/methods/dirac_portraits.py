"""Phase portraits of every method on the Dirac-GAN."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from detente import methods
from detente.errors import InvalidValue
from detente.experiments.base import Claim, Experiment, Findings, Track
from detente.experiments.support.interval_estimate import Estimate, above, below
from detente.game import Game
from detente.games.dirac_gan import DiracGAN
from detente.methods.method import Method
from detente.objectives.minimax import Minimax
from detente.optimizers.sgd import SGD
from detente.penalties.r1 import R1
from detente.training.step import Steps, draw

if TYPE_CHECKING:
    from matplotlib.figure import Figure

RATE = 0.1
START = (1.0, 1.0)
# Methods with a choice of optimizer use SGD at this rate, so that portraits show the method and not Adam.
SETTINGS: dict[str, dict[str, Any]] = {
    "consensus": {"strength": 1.0},
    "debiased_consensus": {"strength": 1.0},
    "smoothing": {"strength": 1.0},
    "averaged": {"kind": "uniform"},
    "competitive": {"learning_rate": RATE},
    "adaptive_competitive": {"learning_rate": RATE},
    "follow_the_ridge": {"learning_rate": RATE, "decay": None},
    "unrolled": {"learning_rate": RATE, "generator_learning_rate": RATE, "inner": "gradient"},
    "sgld": {"discriminator_rate": RATE},
    "sgnht": {"discriminator_rate": RATE},
}
CONVERGE = ("extragradient", "past_extragradient", "optimistic", "consensus", "lookahead", "competitive")
CYCLE = ("simultaneous", "alternating")


def _final_distance(name: str) -> Callable[[Findings], Estimate]:
    return lambda findings: Estimate.exact(findings[name]["end"], "of the first distance")


class DiracPortraits(Experiment):
    """The trajectory of each method from (1, 1) on the Dirac-GAN with the saturating objective."""

    title = "Phase portraits of every method on the Dirac-GAN"
    paper = "Mescheder, Geiger & Nowozin 2018, Which Training Methods for GANs do actually Converge?"
    figure = "figures 2 and 3, for the methods of this library"
    deviations = (
        f"Methods that take an optimizer take SGD at rate {RATE}; the paper has its own seven.",
        "Methods that need samples or finite sums (variance reduction, per-sample covariances, SGAN's ensembles of "
        "one point) have no portrait.",
    )
    tried = (
        "At 1,000 steps extragradient, optimism, lookahead and competitive gradients still spiral in, at a fifth to a "
        "third of the first distance; the rule asks for a tenth. Hence 2,500."
    )
    sizes = {"smoke": {"steps": 40}, "laptop": {"steps": 2500}, "paper": {"steps": 5000}}
    claims = (
        *(
            Claim(
                f"{name} does not converge",
                _final_distance(name),
                above(0.5),
                "does not converge",
            )
            for name in CYCLE
        ),
        *(
            Claim(
                f"{name} converges",
                _final_distance(name),
                below(0.1),
                "converges" if name == "consensus" else "",
            )
            for name in CONVERGE
        ),
        Claim(
            "alternating gradient with R1 converges",
            _final_distance("alternating with R1"),
            below(0.1),
            "converges",
        ),
    )

    def conduct(self, folder: Path, track: Track, **size: Any) -> Findings:
        """Return the trajectory of every applicable method, and the reason why the others do not apply."""
        findings: Findings = {}
        entries = [(name, DiracGAN(Minimax(), start=START)) for name in methods.names() if "sgan" not in name]
        entries.append(("alternating with R1", DiracGAN(Minimax(), R1(1.0), START)))
        for name, game in track(entries, "portraits", total=len(entries)):
            method = _make_method(name.partition(" ")[0])
            try:
                method.check(game)
            except InvalidValue as error:
                findings[name] = {"reason": f"{error.field}: {error.allowed}"}
                continue
            path = _trajectory(game, method, size["steps"])
            end = float(np.linalg.norm(path[-1]) / math.hypot(*START))
            findings[name] = {"path": path, "end": end if math.isfinite(end) else 1e9}
        return findings

    def draw(self, findings: Findings, figure: Figure) -> None:
        """Draw each trajectory in the plane of generator and discriminator."""
        paths = {name: result["path"] for name, result in findings.items() if "path" in result}
        columns = 6
        figure.set_size_inches(13, 2.3 * math.ceil(len(paths) / columns))
        for index, (name, path) in enumerate(paths.items()):
            axes = figure.add_subplot(math.ceil(len(paths) / columns), columns, index + 1, aspect="equal")
            axes.plot(*path.T, lw=0.6, color="C0")
            axes.plot(*path[-1], "o", ms=4, color="C3")
            axes.plot(0, 0, "+", color="0.3")
            axes.set(xlim=(-2.2, 2.2), ylim=(-2.2, 2.2), xticks=[], yticks=[])
            axes.set_title(name.replace("_", " "), fontsize=8)


def _make_method(name: str) -> Method:
    factory, settings = methods.names()[name], dict(SETTINGS.get(name, {}))
    if "optimizer" in factory.__annotations__ and "learning_rate" not in settings:
        settings["optimizer"] = SGD(RATE)
    return factory(**settings)


def _trajectory(game: Game, method: Method, steps: int) -> np.ndarray:
    """Return the evaluated players before each step, (steps + 1, 2)."""
    generator = torch.Generator().manual_seed(0)
    state, run_step = method.initial(game, generator), Steps(game, method)
    points = []
    for _ in range(steps + 1):
        players = method.scheme.eval_state(state).vectors
        points.append([float(players["generator"]), float(players["discriminator"])])
        state = method.prepare(game, state, generator)
        (state,), _ = run_step([state], [[draw(game, method, state, generator)]])
    return np.array(points)
