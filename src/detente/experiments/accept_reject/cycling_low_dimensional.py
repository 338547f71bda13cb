"""From Theory to Practice, figures 1 and 3, and the 2022 paper's test functions: which methods cycle or converge."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from detente import methods
from detente.experiments.base import Claim, Experiment, Findings, Track
from detente.experiments.support.interval_estimate import Estimate, above, below
from detente.experiments.support.trajectories import (
    accept_reject_trajectories,
    deterministic_trajectories,
    load_or_compute,
)
from detente.fields.gradient import Gradient
from detente.games.low_dimensional import FUNCTIONS, LowDimensional
from detente.methods.method import Method
from detente.optimizers.sgd import SGD
from detente.schemes.accept_reject import AcceptReject

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

RATE, SLOPE, DECREASE, PATIENCE = 0.05, 1e-3, 0.03, 20  # from the code of the 2022 paper
# On xy the max player needs 10/(rate·|x|) steps to reach the edge for a small x, so its rate is 1.
XY_METHODS = {
    "gda": methods.simultaneous("sgd", RATE),
    "alternating": methods.alternating("sgd", RATE),
    "random": Method(Gradient(), AcceptReject(1000, SLOPE, DECREASE, spread=0.5, patience=PATIENCE), SGD(1.0)),
    "gradient": Method(Gradient(), AcceptReject(1000, SLOPE, patience=PATIENCE), {"x": SGD(RATE), "y": SGD(1.0)}),
}
TEST_FUNCTION_METHODS = {
    "GDA": methods.simultaneous("sgd", RATE),
    "OMD": methods.optimistic("sgd", RATE),
    "accept–reject": methods.random_proposal(0.5, 200, SLOPE, DECREASE, PATIENCE, "sgd", RATE),
}
NEAR_LINE = 0.25  # |x| that counts as on the line of min-max points
NEAR_ORIGIN, FAR = 1.0, 100.0  # distances from (0, 0) that count as at it and as away from it


class CyclingLowDimensional(Experiment):
    """Gradient descent-ascent cycles or diverges; accept–reject stops at min-max points if there are any."""

    title = "Functions of two numbers: gradient descent-ascent goes round, accept–reject arrives"
    paper = "Mangoubi, Sachdeva & Vishnoi 2020, From Theory to Practice, and Keswani et al. 2022"
    figure = "figures 1 and 3; test functions F1 to F3"
    deviations = (
        "Starts on xy are drawn uniformly from the square; the blog shows one and says almost every.",
        "The blog names no settings for xy: rate 0.05 as on F1 to F3, 1 for accept–reject's max player, who answers in "
        "at most 1,000 steps.",
        "On F1 to F3 the max player answers in at most 200 steps, which only F2 uses up, where f has no maximum in y; "
        "the authors' code would go on for ever there. Its 401 steps of GDA and OMD are kept.",
        "Nothing could be read of what the 2022 paper reports on F1 to F3; claims say what the functions' derivatives "
        "at (0, 0) imply: a local min-max point of F1 and F3, none of F2.",
    )
    sizes = {
        "smoke": {"starts": 2, "steps": 40, "walks": 2, "proposals": 2, "walk": 20},
        "laptop": {"starts": 200, "steps": 4000, "walks": 20, "proposals": 400, "walk": 401},
        "paper": {"starts": 1000, "steps": 20_000, "walks": 100, "proposals": 1000, "walk": 401},
    }
    claims = (
        Claim(
            "f = xy: GDA is non-convergent from almost every start: share of starts from which x still swings by more "
            "than 1 in the last quarter",
            lambda findings: _share_of(_late_range(findings["xy"]["gda"]) > 1),
            above(90),
            "almost every",
        ),
        Claim(
            "f = xy: … nor does alternating GDA converge",
            lambda findings: _share_of(_late_range(findings["xy"]["alternating"]) > 1),
            above(90),
            "almost every",
        ),
        Claim(
            f"f = xy: accept–reject with random proposals stops on the set of min-max points, |x| ≤ {NEAR_LINE}: share",
            lambda findings: _share_of(
                _stopped_where(findings["xy"]["random"], lambda point: abs(point[0]) <= NEAR_LINE)
            ),
            above(75),
            "converges",
        ),
        Claim(
            "f = xy: … with proposals along the gradient, to within half a step, |x| ≤ 0.05·5/2: share",
            lambda findings: _share_of(
                _stopped_where(findings["xy"]["gradient"], lambda point: abs(point[0]) <= RATE * 5 / 2)
            ),
            above(75),
            "converges",
        ),
        Claim(
            "F1: GDA and OMD leave the min-max point (0, 0): the nearer one's distance at the end",
            lambda findings: Estimate.exact(min(_distance(findings["f1"][name][0]) for name in ("GDA", "OMD"))),
            above(FAR),
        ),
        Claim(
            f"F1: accept–reject stops within {NEAR_ORIGIN:g} of the min-max point (0, 0): share",
            lambda findings: _share_of(
                _stopped_where(findings["f1"]["accept–reject"], lambda point: np.hypot(*point) <= NEAR_ORIGIN)
            ),
            above(75),
        ),
        Claim(
            "F2: GDA and OMD stop at (0, 0), which is no maximum in y: the farther one's distance at the end",
            lambda findings: Estimate.exact(max(_distance(findings["f2"][name][0]) for name in ("GDA", "OMD"))),
            below(0.01),
        ),
        Claim(
            f"F2: accept–reject does not stop there; y goes off, as max_y f = ∞: share farther than {FAR:g} away",
            lambda findings: _share_of([_distance(path) > FAR for path in findings["f2"]["accept–reject"]]),
            above(75),
        ),
        Claim(
            "F3: GDA and OMD do not come to the min-max point (0, 0): the least distance in the last quarter",
            lambda findings: Estimate.exact(
                min(_smallest_late_distance(findings["f3"][name][0]) for name in ("GDA", "OMD"))
            ),
            above(NEAR_ORIGIN),
        ),
        Claim(
            f"F3: accept–reject stops within {NEAR_ORIGIN:g} of it: share",
            lambda findings: _share_of(
                _stopped_where(findings["f3"]["accept–reject"], lambda point: np.hypot(*point) <= NEAR_ORIGIN)
            ),
            above(75),
        ),
    )

    def conduct(self, folder: Path, track: Track, **size: Any) -> Findings:
        """Return trajectories by function and method, (points, 2), and for accept–reject also whether it stopped."""
        generator = torch.Generator().manual_seed(0)
        random_starts = [
            tuple((10 * torch.rand(2, generator=generator).double() - 5).tolist()) for _ in range(size["starts"])
        ]
        findings: Findings = {name: {} for name in FUNCTIONS}
        for function in FUNCTIONS:
            starts = random_starts if function == "xy" else [LowDimensional(function).start] * size["walks"]
            games = [LowDimensional(function, start=start) for start in starts]
            steps = size["steps"] if function == "xy" else size["walk"]
            for name, method in (XY_METHODS if function == "xy" else TEST_FUNCTION_METHODS).items():
                label = f"{function} {name}"
                if isinstance(method.scheme, AcceptReject):
                    compute = partial(
                        accept_reject_trajectories, games[: size["walks"]], method, size["proposals"], label, track
                    )
                else:
                    compute = partial(
                        deterministic_trajectories,
                        games if function == "xy" else games[:1],
                        method,
                        steps,
                        label,
                        track,
                    )
                findings[function][name] = load_or_compute(folder / f"{label}.npz", compute)
        return findings

    def draw(self, findings: Findings, figure: Figure) -> None:
        """Draw trajectories over level sets, with min-max points in red."""
        axes = figure.subplots(2, 3)
        titles = {"gda": "gradient descent-ascent", "random": "random proposals", "gradient": "proposals by gradient"}
        for ax, (name, title) in zip(axes[0], titles.items(), strict=True):
            _draw_level_sets(ax, "xy", 5.0)
            ax.plot([0, 0], [-5, 5], color="C3", lw=3, alpha=0.8)
            ax.set(xlim=(-5.5, 5.5), ylim=(-5.5, 5.5))
            for index, path in enumerate(findings["xy"][name][: 1 if name == "gda" else 4]):
                _draw_path(ax, path[:1000] if name == "gda" else path, ("C0", "C1", "C2", "C4")[index])
            ax.set_title(f"f = xy: {title}")
        for ax, function in zip(axes[1], ("f1", "f2", "f3"), strict=True):
            _draw_level_sets(ax, function, 12.0)
            for colour, (name, paths) in zip(("C0", "C1", "C2"), findings[function].items(), strict=True):
                _draw_path(ax, paths[0], colour, name, "--" if name == "OMD" else "-")
            ax.plot(0, 0, "*", ms=12, color="C3" if function != "f2" else "0.4", zorder=5)
            ax.set_title(function.upper() + (": no min-max point" if function == "f2" else ""))
        axes[1, 0].legend(loc="lower right", fontsize="small")


def _late_range(paths: list[np.ndarray]) -> np.ndarray:
    """Return the range of x in the last quarter of each trajectory."""
    return np.array([np.ptp(path[3 * len(path) // 4 :, 0]) for path in paths])


def _stopped_where(paths: list[np.ndarray], condition: Any) -> list[bool]:
    return [bool(path[-1, 2]) and bool(condition(path[-1, :2])) for path in paths]


def _distance(path: np.ndarray) -> float:
    return float(np.nan_to_num(np.hypot(*path[-1, :2]), nan=np.inf))


def _smallest_late_distance(path: np.ndarray) -> float:
    return float(np.hypot(*path[3 * len(path) // 4 :, :2].T).min())


def _share_of(occurred: Any) -> Estimate:
    return Estimate.fixed_share(int(np.sum(occurred)), len(occurred))


def _draw_level_sets(axes: Axes, function: str, limit: float) -> None:
    x, y = np.meshgrid(*[np.linspace(-limit, limit, 121)] * 2)
    values = FUNCTIONS[function](torch.from_numpy(x), torch.from_numpy(y)).numpy()
    axes.contourf(x, y, np.arcsinh(values), levels=24, cmap="Greys", alpha=0.5)
    axes.set(xlim=(-limit, limit), ylim=(-limit, limit), aspect="equal", xlabel="x", ylabel="y")


def _draw_path(axes: Axes, path: np.ndarray, colour: str, label: str = "", style: str = "-") -> None:
    path = np.clip(np.nan_to_num(path, nan=1e6), -1e6, 1e6)
    axes.plot(*path[:, :2].T, color=colour, ls=style, lw=1.4, label=label)
    axes.plot(*path[0, :2], "o", ms=5, color=colour, mec="white")
    axes.plot(*path[-1, :2], "s", ms=6, color=colour, mec="white")
