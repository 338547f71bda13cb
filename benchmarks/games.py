"""The games of examples/ under three methods at equal cost, and the autoencoder under several starts of its judge.

    python -m benchmarks.games                      # all; about half an hour on one core
    python -m benchmarks.games cyclegan --seeds 2   # one, smaller
    python -m benchmarks.games starts               # how the autoencoder’s discriminator is added
    python -m benchmarks.games spectrum             # the field's eigenvalues before and after that
    python -m benchmarks.games picture              # docs/pictures/games.png, of the starts

Each method gets the same gradient evaluations, the same Adam and the same rates; none is tuned. A score is the mean
over the last quarter of a run's forty measurements. Methods are compared seed by seed, with Student's 95% interval.
Results are written to runs/bench/games.json.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path
from typing import Any

import torch
from matplotlib import pyplot
from matplotlib.figure import Figure
from scipy.stats import t as student

import detente
from benchmarks.examples import example
from benchmarks.timing import threads
from detente import methods
from detente.diagnostics.jacobian_spectrum import leading_eigenvalues
from detente.methods.base import Rate

ROOT = Path(__file__).parents[1]
OUT = ROOT / "runs" / "bench" / "games.json"
PICTURE = ROOT / "docs" / "pictures" / "games.png"
EXTRA = ("starts", "spectrum", "picture")
POINTS = 40  # measurements in a run
METHODS = {"alternating": methods.alternating, "extragradient": methods.extragradient, "lookahead": methods.lookahead}


@dataclass(frozen=True)
class Setting:
    """The settings with which a game is trained.

    Args:
        evaluations: gradient evaluations of each run.
        rate: of all players, or by player.
        times: arguments of the game that are numbers of steps, as shares of the run, so that they come at the same cost
            under each method.
        arguments: other arguments of the game.
    """

    evaluations: int
    rate: Rate = 1e-3
    times: Mapping[str, float] = field(default_factory=dict)
    arguments: Mapping[str, Any] = field(default_factory=dict)


SETTINGS = {
    "vq_autoencoder": Setting(1200, times={"start": 0.4, "ramp": 0.3, "judge_start": 0.0}),
    "vocoder": Setting(800),
    "cyclegan": Setting(1000),
    "domain_adversarial": Setting(1800, times={"ramp": 0.5}),
    "constrained": Setting(6000, rate={"classifier": 3e-3, "multipliers": 3e-2}),
    "tabular_gan": Setting(6000),
}
STARTS = {
    "no adversarial term": Setting(1200, arguments={"weight": 0.0}),
    "term from the first step": Setting(1200, times={"start": 0.0}, arguments={"ramp": 1}),
    "term and discriminator from 40%": Setting(1200, times={"start": 0.4, "judge_start": 0.4}, arguments={"ramp": 1}),
    "term from 40%": Setting(1200, times={"start": 0.4}, arguments={"ramp": 1}),
    "term ramped from 40% to 70%": SETTINGS["vq_autoencoder"],
}


@cache
def players(name: str) -> tuple[str, ...]:
    """Return the players of an example's game."""
    return example(name).game().players


def method(name: str, rate: Rate) -> detente.Method:
    """Return a method with Adam(0.5, 0.999) and a rate, the same for all methods."""
    return replace(METHODS[name](), optimizer=methods.alternating(learning_rate=rate).optimizer)


def curve(name: str, setting: Setting, label: str, seed: int) -> list[dict[str, float]]:
    """Train, and return the scores at each of the measurements, with the share of the budget and the seconds so far."""
    module, trained = example(name), method(label, setting.rate)
    steps = int(setting.evaluations / trained.scheme.gradient_evaluations(trained.field, players(name)))
    times = {key: max(int(share * steps), int(key == "ramp")) for key, share in setting.times.items()}
    stepper = detente.Stepper(module.game(**times, **setting.arguments), trained, seed=seed)
    points, seconds = [], 0.0
    for point in range(POINTS):
        start = time.process_time()
        for _ in range(steps * point // POINTS, steps * (point + 1) // POINTS):
            stepper.step()
        seconds += time.process_time() - start
        points.append({"share": (point + 1) / POINTS, "seconds": seconds, **module.scores(stepper.modules())})
    return points


def interval(values: Sequence[float]) -> tuple[float, float]:
    """Return the mean of independent values, and half the width of its 95% interval (Student's t)."""
    if len(values) < 2:
        return values[0], float("inf")
    half = student.ppf(0.975, len(values) - 1) * statistics.stdev(values) / len(values) ** 0.5
    return statistics.fmean(values), float(half)


def final(points: Sequence[Mapping[str, float]], score: str) -> float:
    """Return the mean score over the last quarter of a run."""
    return statistics.fmean(point[score] for point in points[-POINTS // 4 :])


def table(curves: Mapping[str, Mapping[str, Sequence[Mapping[str, float]]]]) -> Iterator[str]:
    """Yield the lines of a table: each run's scores, and their differences from the first run's, seed by seed."""
    reference = next(iter(curves))
    scores = [key for key in next(iter(curves[reference].values()))[0] if key not in ("share", "seconds")]
    headings = [text for score in scores for text in (score, f"{score} − that of {reference}")]
    yield f"| run | {' | '.join(headings)} | seconds |"
    yield f"| --- |{' ---: |' * (len(headings) + 1)}"
    for label, by_seed in curves.items():
        cells = []
        for score in scores:
            values = {seed: final(points, score) for seed, points in by_seed.items()}
            cells.append("{:.3f} ± {:.3f}".format(*interval(list(values.values()))))
            pairs = [value - final(curves[reference][seed], score) for seed, value in values.items()]
            cells.append("" if label == reference else "{:+.3f} ± {:.3f}".format(*interval(pairs)))
        seconds = statistics.fmean(points[-1]["seconds"] for points in by_seed.values())
        yield f"| {label} | {' | '.join(cells)} | {seconds:.0f} |"


def spectrum(seed: int) -> dict[str, dict[str, float]]:
    """Return the outer eigenvalues of the autoencoder's field when its discriminator's term starts, and at the end.

    The first two points have the same parameters and batch: only the term's weight differs, 0 and then 0.1.
    """
    setting = STARTS["term from 40%"]
    steps = setting.evaluations // 2
    start = int(0.4 * steps)
    game = example("vq_autoencoder").game(start=start, ramp=1)
    stepper, batch = detente.Stepper(game, method("alternating", 1e-3), seed=seed), game.draw(torch.Generator())
    eigenvalues = {}
    for name, at, t in (("before", start, start), ("just after", start, start + 1), ("at the end", steps, steps)):
        while int(stepper.state.t) < at:
            stepper.step()
        batch_with_step = game.with_step(batch, torch.tensor(t))
        values = {
            which: leading_eigenvalues(game, stepper.state, batch_with_step, 4, which, 1e-2).eigenvalues
            for which in ("LM", "SR", "LI")
        }
        real, least, turning = values["LM"].real.max(), values["SR"].real.min(), values["LI"].imag.abs().max()
        eigenvalues[name] = {
            "largest Re λ": float(real),
            "smallest Re λ": float(least),
            "largest |Im λ|": float(turning),
        }
        print(f"seed {seed}, {name}: {eigenvalues[name]}", flush=True)
    return eigenvalues


def picture(curves: Mapping[str, Mapping[str, Sequence[Mapping[str, float]]]]) -> Figure:
    """Return the autoencoder's scores over training, for each start of its discriminator: means over the seeds."""
    figure, axes = pyplot.subplots(1, 3, figsize=(12, 3.6), layout="constrained")
    hues = dict(zip(STARTS, ("0.5", "tab:red", "tab:orange", "tab:blue", "tab:green"), strict=True))
    dashes = {"alternating": "-", "extragradient": "--", "lookahead": ":"}
    panels = (("error", "alternating"), ("detail", "alternating"), ("error", "term and discriminator from 40%"))
    for ax, (score, title) in zip(axes, panels, strict=True):
        for label, by_seed in curves.items():
            start, _, by = label.rpartition(", ")
            if by != "alternating" if title == "alternating" else start != "term and discriminator from 40%":
                continue
            means = [statistics.fmean(p[score] for p in points) for points in zip(*by_seed.values(), strict=True)]
            shares = [100 * point["share"] for point in next(iter(by_seed.values()))]
            name = start if title == "alternating" else by
            ax.plot(shares, means, dashes[by], color=hues[start], label=name)
        ax.set(xlabel="budget spent (%)", title=f"{score}: {title}")
        ax.axvline(40, color="0.8", zorder=0)
    axes[0].set_ylim(0.1, 0.25), axes[1].set_ylim(0.2, 1.5), axes[2].set_ylim(0.1, 0.25)
    axes[1].legend(fontsize=7, loc="lower right"), axes[2].legend(fontsize=7)
    return figure


def save(results: Mapping[str, Any], out: Path) -> None:
    """Add results to the file."""
    stored = json.loads(out.read_text(encoding="utf-8")) if out.exists() else {}
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(json.dumps({**stored, **results}, indent=1), encoding="utf-8")


def main(words: Sequence[str] | None = None) -> None:
    """Run the requested experiments, and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", choices=[[], *SETTINGS, *EXTRA], help="default: all")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--out", type=Path, default=OUT)
    options = parser.parse_args(words)
    with threads(1):
        for name in options.names or [*SETTINGS, *EXTRA]:
            if name == "spectrum":
                save({"spectrum": {str(seed): spectrum(seed) for seed in range(options.seeds)}}, options.out)
                continue
            if name == "picture":
                picture(json.loads(options.out.read_text(encoding="utf-8"))["starts"]).savefig(PICTURE, dpi=120)
                continue
            runs = {label: (SETTINGS[name], label) for label in METHODS} if name != "starts" else starts()
            game, curves = name if name != "starts" else "vq_autoencoder", {label: {} for label in runs}
            for seed in range(options.seeds):
                for label, (setting, by) in runs.items():
                    curves[label][str(seed)] = curve(game, setting, by, seed)
                save({name: curves}, options.out)
            print(f"\n{name}\n", *table(curves), sep="\n", flush=True)


def starts() -> dict[str, tuple[Setting, str]]:
    """Return the runs of the autoencoder: each start of its discriminator, the late ones under each method."""
    pairs = {(start, by): setting for start, setting in STARTS.items() for by in METHODS}
    return {
        f"{start}, {by}": (setting, by)
        for (start, by), setting in pairs.items()
        if "40%" in start or by == "alternating"
    }


if __name__ == "__main__":
    main()
