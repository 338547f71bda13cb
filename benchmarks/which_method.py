"""Which method for my GAN? All methods that play a game, at equal cost, each at its own best learning rate.

    python -m benchmarks.which_method run ring grid --out runs/which     train; the same command continues
    python -m benchmarks.which_method cost ring grid --out runs/which    time a step of each method
    python -m benchmarks.which_method page --out runs/which              write docs/which-method.md

Every method has ten seeds and the same number of gradients, and is tuned by `detente compare --tune`: five rates around
its own default, three other seeds, a fifth of the budget. Methods are ranked within each seed by one metric of the game
(rank 1 is best, ties share a rank, a diverged seed is last); a method's number is its mean rank with a 95 % bootstrap
interval over seeds. Ranks at equal time compare each method at its last measurement before the time at which the
quickest method has used up its gradients; time is steps times the processor time of a step.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.stats import rankdata

from benchmarks.page import machine
from benchmarks.step_cost import repeated_steps
from benchmarks.timing import interleave
from detente import methods
from detente.cli import configuration
from detente.cli.commands import compare
from detente.errors import InvalidValue
from detente.report.recorded_run import RecordedRun
from detente.report.run_directory import read_run
from detente.training.run import Run

PAGE = Path(__file__).parents[1] / "docs" / "which-method.md"
SEEDS = tuple(range(10))
RESAMPLES = 10_000
DISTANCE = "classifier_frechet_distance"
SNGAN = (
    "--game adversarial --game.data prepared --game.data.name fashion_mnist-32 --game.latent 64 --game.objective hinge "
    "--game.generator sngan_generator --game.generator.width 16 --game.generator.channels 1 --game.generator.latent 64 "
    "--game.discriminator sngan_discriminator --game.discriminator.width 16 --game.discriminator.channels 1"
)


@dataclass(frozen=True)
class Contest:
    """A game on which methods are compared.

    Args:
        title: the game in words.
        words: its options on the command line.
        budget: gradients of one player's loss on one batch, for each seed of each method.
        metric: key of the metric that ranks, as in a record.
        better: "higher" or "lower".
    """

    title: str
    words: str
    budget: int
    metric: str
    better: str = "higher"

    def run(self, method: str) -> Run:
        """Return a method's run. Raises `InvalidValue` if the method cannot train this game."""
        parser = configuration.parser("train", "", seeds=SEEDS)
        return configuration.build(configuration.parse(parser, [*self.words.split(), "--method", method]))


LIKELIHOOD = " --metrics log_likelihood"
CONTESTS = {
    "ring": Contest(
        "25,600 points of a ring of Gaussians, MLPs",
        "--game ring --game.points 25600" + LIKELIHOOD,
        8000,
        "log_likelihood",
    ),
    "grid": Contest("25 Gaussians on a grid, MLPs", "--game grid" + LIKELIHOOD, 8000, "log_likelihood"),
    "digits": Contest("digits, a DCGAN of width 16", "--game digits --game.width 16", 4000, DISTANCE, "lower"),
    "fashion": Contest("Fashion-MNIST, an SNGAN of width 16", SNGAN, 2000, DISTANCE, "lower"),
}


def main(words: list[str] | None = None) -> int:
    """Train, time or write the page."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.which_method", description=(__doc__ or "").split("\n")[0]
    )
    parser.add_argument("what", choices=("run", "cost", "page"))
    parser.add_argument("games", nargs="*", metavar="GAME", help=f"of {', '.join(CONTESTS)}; default: all")
    parser.add_argument("--out", type=Path, default=Path("runs/which"))
    options = parser.parse_args(words)
    games = options.games or list(CONTESTS)
    if unknown := set(games) - CONTESTS.keys():
        parser.error(f"GAME: {', '.join(sorted(unknown))}: one of {', '.join(CONTESTS)}")
    if options.what == "page":
        PAGE.write_text(page(options.out), encoding="utf-8")
        return 0
    for name in games:
        status = train(name, options.out) if options.what == "run" else time_steps(name, options.out)
        if status:
            return status
    return 0


def players(contest: Contest) -> tuple[list[str], dict[str, str]]:
    """Return the methods that can train a game, and for each other method the reason why it cannot."""
    playing, reasons = [], {}
    for name in methods.names():
        try:
            contest.run(name)
            playing.append(name)
        except InvalidValue as error:
            reasons[name] = str(error)
    return playing, reasons


def train(name: str, out: Path) -> int:
    """Compare all methods on a game, tuned, at equal gradients; return the exit status."""
    contest = CONTESTS[name]
    playing, reasons = players(contest)
    (out / name).mkdir(parents=True, exist_ok=True)
    (out / f"{name}-refused.json").write_text(json.dumps(reasons, indent=1), encoding="utf-8")
    options = f"--budget {contest.budget}grads --compile off --no-checks --tune".split()
    seeds = ["--seeds", *map(str, SEEDS)]
    return compare.main([*contest.words.split(), "--methods", *playing, *seeds, *options, "--out", str(out / name)])


def time_steps(name: str, out: Path) -> int:
    """Measure the processor time of a step of each method that was trained, in milliseconds, on one thread."""
    torch.set_num_threads(1)
    runs = {path.parent.name: CONTESTS[name].run(path.parent.name) for path in sorted((out / name).glob("*/run.yaml"))}
    calls = {method: repeated_steps(run.game, run.method) for method, run in runs.items()}
    timing = interleave(calls, rounds=11)
    content = {method: 1e3 * statistics.median(timing.processor[method]) for method in calls}
    text = json.dumps({**machine(), "milliseconds": content}, indent=1)
    (out / f"{name}-cost.json").write_text(text, encoding="utf-8")
    return 0


def mean_ranks(values: NDArray[np.float64], generator: np.random.Generator) -> list[tuple[float, float, float]]:
    """Return each method's mean rank over seeds with a 95 % bootstrap interval.

    Args:
        values: (methods, seeds); smaller is better; +∞ for a seed that diverged.
        generator: draws the resamples of seeds.
    """
    ranks = np.apply_along_axis(rankdata, 0, values)
    chosen = generator.integers(values.shape[1], size=(RESAMPLES, values.shape[1]))
    means = ranks[:, chosen].mean(2)
    low, high = np.quantile(means, [0.025, 0.975], axis=1)
    return list(zip(ranks.mean(1), low, high, strict=True))


def value_before(run: RecordedRun, seed: int, metric: str, step: float) -> float:
    """Return a seed's last value of a metric up to a step; NaN if it diverged before, or has none."""
    status = run.seeds.get(seed)
    if status is None or (status.diverged_at is not None and status.diverged_at <= step):
        return float("nan")
    values = [
        value
        for tick in run.ticks.get(seed, ())
        for (group, key), value in tick.values.items()
        if group == "metrics" and key.partition(" ")[0] == metric and tick.step <= step and value is not None
    ]
    return values[-1] if values else float("nan")


def page(out: Path) -> str:
    """Return the page from the runs under a folder."""
    text = HEAD
    for name, contest in CONTESTS.items():
        runs = {path.parent.name: read_run(path.parent, path.parent.name) for path in (out / name).glob("*/run.yaml")}
        if not (out / name / "report.html").exists():  # which a comparison writes when all its runs have ended
            text += f"\n## {name}: {contest.title}\n\nNot yet complete.\n"
            continue
        cost = _read(out / f"{name}-cost.json")
        text += f"\n## {name}: {contest.title}\n\n{_table(contest, runs, cost)}\n{_refused(out, name)}"
    return text


def _table(contest: Contest, runs: Mapping[str, RecordedRun], cost: dict) -> str:
    last_steps = {method: max(s.step for s in run.seeds.values()) for method, run in runs.items()}
    by_gradients = _ranked(contest, runs, dict.fromkeys(runs, float("inf")))
    by_time = None
    if cost and not runs.keys() - cost["milliseconds"].keys():
        milliseconds = cost["milliseconds"]
        limit = min(last_steps[method] * milliseconds[method] for method in runs)
        by_time = _ranked(contest, runs, {method: limit / milliseconds[method] for method in runs})
    lines = [
        f"{contest.budget:,} gradients each, {len(SEEDS)} seeds; by `{contest.metric}`, {contest.better} is better.",
        "",
        f"| method | {contest.metric} at the end (median) | rank, equal gradients | rank, equal time | diverged |",
        "| --- | --- | --- | --- | --- |",
    ]
    for method in sorted(runs, key=lambda method: by_gradients[method][0]):
        finals = [value_before(runs[method], seed, contest.metric, float("inf")) for seed in SEEDS]
        middle = f"{np.nanmedian(finals):.3g}" if np.isfinite(finals).any() else "–"
        time = _interval(by_time[method]) if by_time else "–"
        row = (f"`{method}`", middle, _interval(by_gradients[method]), time, str(len(runs[method].diverged)))
        lines.append(f"| {' | '.join(row)} |")
    if cost:
        lines += ["", f"Processor time of a step: {cost['machine']}; one thread, {cost['date']}."]
    return "\n".join(lines) + "\n"


def _ranked(contest: Contest, runs: Mapping[str, RecordedRun], steps: Mapping[str, float]) -> dict:
    sign = 1 if contest.better == "lower" else -1
    rows = [[sign * value_before(run, seed, contest.metric, steps[m]) for seed in SEEDS] for m, run in runs.items()]
    values = np.nan_to_num(np.array(rows, dtype=float), nan=np.inf, posinf=np.inf, neginf=-np.inf)
    return dict(zip(runs, mean_ranks(values, np.random.default_rng(0)), strict=True))


def _interval(rank: tuple[float, float, float]) -> str:
    return f"{rank[0]:.1f} [{rank[1]:.1f}, {rank[2]:.1f}]"


def _refused(out: Path, name: str) -> str:
    reasons = _read(out / f"{name}-refused.json")
    return f"\nNot supported by this game: {', '.join(f'`{method}`' for method in reasons)}.\n" if reasons else ""


def _read(path: Path) -> dict:
    return json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}


HEAD = """# Which method for my GAN?

Written by `python -m benchmarks.which_method page`; do not edit. All methods that support a game are trained on it with
the same networks, seeds and number of gradients, each at the best of five learning rates around its own default, chosen
on other seeds. For each seed, the methods are ranked by one metric; 1 is best, a diverged seed is last. The table gives
mean ranks with 95 % bootstrap intervals over seeds: these seeds cannot distinguish methods whose intervals overlap.
Equal time means the time in which the fastest method has used its gradients.

The games are small and the budgets short: this shows which methods start well, not which one is best after a week.
"""

if __name__ == "__main__":
    sys.exit(main())
