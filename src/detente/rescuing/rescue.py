"""`detente.rescue`: find what is wrong with a GAN, and cure it."""

from __future__ import annotations

import json
import math
import statistics
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path
from typing import Any

from detente.checks.base import Finding, inspect
from detente.checks.refusals import is_refusal, refusal_finding
from detente.checks.switch import off
from detente.cures.base import Case, Change
from detente.cures.plan import candidates, withheld
from detente.cures.strong_default import StrongDefault
from detente.errors import InvalidValue, require
from detente.game import Game
from detente.games.gan import gan_of
from detente.methods.method import Method
from detente.report.rescue import write_rescue_report
from detente.rescuing.conclusions import CERTAIN, SURE, concluded, merged, roughly_right
from detente.rescuing.judgement import Judgement
from detente.rescuing.race import SHORTEST, plan_rounds, race
from detente.rescuing.short_run import ShortRun
from detente.rescuing.trial import LATEST, Trial, seconds_per_step
from detente.signals.base import History
from detente.signals.reference import Quality

CHEAP = 0.5  # cost of a step, relative to the user's own, below which a trial has more steps at the same compute
MOST = 32  # times as many steps, at most
SHARE = 0.2  # of the budget, for the short run
STRONG = StrongDefault.title  # of the settings that help most often, so that they always take part
FILE = "rescue.json"


@dataclass(frozen=True)
class Event:
    """The progress of a rescue.

    Args:
        stage: "checks", "short run", or the name of a trial.
        step: number of steps done in it.
        steps: number of steps to do.
    """

    stage: str
    step: int
    steps: int


@dataclass
class Rescue:
    """What was found, what was tried, and which cure worked.

    Args:
        steps: steps of a whole run.
        budget: what may be spent, in whole runs.
        directory: where everything is.
        findings: what is wrong, the most certain first; empty if nothing is.
        history: what the short run showed.
        trials: cures in the order in which they were tried.
        best: the best trial, or None if nothing was tried or nothing was better than the user's own.
        judgement: how good the samples of the best trial are at the end.
        cost: what was spent, in whole runs of the user's own.
        before: quality of the user's own samples at the end of the short run.
        after: quality of the best trial's samples.
        score_before: the mean score of the user's own samples in the last observations, as of a trial.
        withheld: likely cures that were not tried, since they change layers of the networks.
    """

    steps: int
    budget: float
    directory: Path
    findings: list[Finding] = field(default_factory=list)
    history: History | None = None
    trials: list[Trial] = field(default_factory=list)
    best: Trial | None = None
    judgement: Judgement | None = None
    cost: float = 0.0
    before: Quality | None = None
    after: Quality | None = None
    score_before: float = -math.inf
    withheld: list[str] = field(default_factory=list)

    @property
    def healthy(self) -> bool:
        """Whether nothing is wrong."""
        return not any(finding.certainty >= CERTAIN for finding in self.findings)

    @property
    def cured(self) -> bool:
        """Whether the samples of the best trial are as good as a working GAN's."""
        return self.judgement is not None and self.judgement.cured

    @property
    def only_by_hand(self) -> bool:
        """Whether something is wrong that only a change of the user's own code or data removes."""
        return any(finding.by_hand and finding.certainty >= SURE for finding in self.findings)

    @property
    def verdict(self) -> str:
        """The failures that are treated, in order of certainty, or "healthy"."""
        names = dict.fromkeys(f.failure for f in self.findings if f.certainty >= CERTAIN)
        return ", ".join(names) or "healthy"

    @property
    def conclusion(self) -> str:
        """What to think of a GAN in which nothing is wrong, in one sentence."""
        if self.before is None or roughly_right(self.before):
            return "This GAN is healthy."
        return "The samples are not good yet: this GAN may only need longer."

    def __str__(self) -> str:
        from detente.rescuing.text import lines  # noqa: PLC0415

        return "\n".join(lines(self))


def rescue(
    game: Game | Callable[[], Game],
    method: Method,
    budget: str | float = "3x",
    steps: int = 2000,
    seed: int = 0,
    out: Path | str | None = None,
    may_change_networks: bool = False,
) -> Rescue:
    """Find out why a GAN fails, try cures, and return the findings, the trials and the cure.

    Args:
        game: the GAN: `Adversarial`, `Conditional`, or `Networks` with a generator and a discriminator; or a function
            that builds it, so that a refusal of what it builds is a finding instead of an error.
        method: its training method.
        budget: total compute, in units of one full run of the user's own training, e.g. "3x".
        steps: steps of a whole run, ≥ 1.
        seed: the random seed.
        out: output directory; an interrupted rescue continues there. Default: a temporary
            directory.
        may_change_networks: whether cures may change layers of the networks.

    Raises:
        InvalidValue: the game is not a GAN, the method does not support it, or the directory contains something else.
    """
    *_, (result, _) = rescuing(game, method, budget, steps, seed, out, may_change_networks)
    return result


def rescuing(
    game: Game | Callable[[], Game],
    method: Method,
    budget: str | float = "3x",
    steps: int = 2000,
    seed: int = 0,
    out: Path | str | None = None,
    may_change_networks: bool = False,
    known: Sequence[Finding] = (),
    describe: Callable[[Change, int], tuple[dict[str, Any], str]] | None = None,
) -> Iterator[tuple[Rescue, Event]]:
    """Carry out a rescue, and yield it, as far as it is, with its progress.

    Args:
        game: as in `rescue`, like the next six.
        method: see `rescue`.
        budget: see `rescue`.
        steps: see `rescue`.
        seed: see `rescue`.
        out: see `rescue`.
        may_change_networks: see `rescue`.
        known: findings that were made when the game was built.
        describe: returns the configuration and the command line of a changed set-up, for a number of steps.
    """
    limit = _parse(budget)
    require(isinstance(steps, int) and steps >= 1, "steps", steps, "an integer ≥ 1")
    folder = Path(tempfile.mkdtemp(prefix="detente-rescue-")) if out is None else Path(out)
    folder.mkdir(parents=True, exist_ok=True)
    result = Rescue(steps, limit, folder)
    yield result, Event("checks", 0, 1)
    if not isinstance(game, Game):
        try:
            game = game()
        except InvalidValue as error:
            if not is_refusal(error):
                raise
            result.findings = [*known, refusal_finding(error)]
            _save(result)
            yield result, Event("finished", 1, 1)
            return
    gan, method = gan_of(game), method.playing(game)
    method.check(game)
    checked = [*known, *inspect(game, method)]
    result.findings = merged(checked, [])
    yield result, Event("checks", 1, 1)

    count = max(1, min(steps, round(SHARE * limit * steps)))
    short = ShortRun(game, method, folder / "before", count, steps, seed)
    for step in short:
        yield result, Event("short run", step, count)
    history = result.history = short.history
    points = [point for point in short.observed.points if "quality" in point]
    if points:
        result.before = Quality(**points[-1]["quality"])
        result.score_before = statistics.fmean(point["score"] for point in points[-LATEST:])
    result.findings = concluded(checked, history, result.before)
    result.cost = short.observed.steps / steps
    _save(result)
    yield result, Event("short run", short.observed.steps, short.observed.steps)
    if result.healthy or result.only_by_hand:
        return
    own = _remembered(folder, "seconds_per_step", lambda: seconds_per_step(game, method))
    treated = [finding for finding in result.findings if finding.certainty >= CERTAIN]
    case = Case(game, method, gan, treated, steps)

    def relative_cost(name: str, change: Change) -> float:
        return _remembered(folder, name, lambda: seconds_per_step(*change.apply(game, method))) / own

    def affordable(name: str, change: Change) -> bool:
        return SHORTEST * relative_cost(name, change) <= limit - result.cost

    with off():
        result.withheld = [] if may_change_networks else withheld(case)
        chosen = candidates(case, may_change_networks, affordable=affordable)
        tried = [(name, change, *change.apply(game, method)) for name, change in chosen]
    for name, change, changed, other in tried:
        directory = folder / "trials" / f"{len(result.trials) + 1}-{_file_name(name)}"
        relative = relative_cost(name, change)
        cost = max(0.5, math.ceil(4 * relative - 0.5) / 4)  # a timing on a busy machine is rough
        length = steps
        if relative < CHEAP:  # such as one turn of the discriminator instead of many
            cost = max(1 / MOST, relative)
            length = round(steps / cost)
        described, command = ({}, "") if describe is None else describe(change, length)
        trial = Trial(name, change, changed, other, directory, length, seed, short.reference, described, command)
        trial.step_cost = cost
        result.trials.append(trial)
    if not result.trials:
        return
    costs = [trial.step_cost * trial.whole / steps for trial in result.trials]
    strong = [index for index, trial in enumerate(result.trials) if STRONG.lower() in trial.name.lower()]
    rounds = plan_rounds(costs, limit - result.cost, strong[0] if strong and len(costs) > 1 else None)
    spent = result.cost
    running: Trial | None = None
    for trial, step, target in chain(race(result.trials, rounds), _second_chances(result, limit)):
        result.cost = spent + sum(each.cost for each in result.trials) / steps
        if trial is not running:
            running = trial
            _save(result)
        yield result, Event(trial.name, step, target)
    _finish(result)
    _save(result)
    yield result, Event("finished", 1, 1)


def _second_chances(result: Rescue, limit: float) -> Iterator[tuple[Trial, int, int]]:
    """Train dropped trials to their end, the best first, while none is a cure and the budget has room."""
    while not any(trial.steps >= trial.whole and trial.judgement.cured for trial in _sound(result)):
        room = (limit - result.cost) * result.steps
        dropped = [t for t in _sound(result) if t.steps < t.whole and (t.whole - t.steps) * t.step_cost <= room]
        if not dropped:
            return
        trial = max(dropped, key=lambda trial: trial.score)
        for step in trial.advance(trial.whole):
            yield trial, step, trial.whole
        trial.outcome = trial.observed.diverged or f"full run of {trial.steps} steps"


def _sound(result: Rescue) -> list[Trial]:
    """Return the trials whose samples are finite."""
    return [trial for trial in result.trials if trial.steps and trial.quality and math.isfinite(trial.score)]


def _finish(result: Rescue) -> None:
    """Choose the best trial: of those that are cures, or else of all that went furthest, the one of the best score."""
    trained = [trial for trial in _sound(result) if trial.score > result.score_before]
    judged = {trial: trial.judgement for trial in trained if trial.steps >= trial.whole}
    best = max(
        trained,
        key=lambda trial: (
            trial in judged and judged[trial].cured,
            math.isfinite(trial.score),
            trial.share,
            trial.score,
        ),
        default=None,
    )
    if best is not None:
        result.best, result.after, result.judgement = best, best.quality, judged.get(best, best.judgement)


def _parse(budget: str | float) -> float:
    allowed = 'whole runs, e.g. "3x", at least 1'
    try:
        limit = float(str(budget).removesuffix("x"))
    except ValueError:
        raise InvalidValue("budget", budget, allowed) from None
    require(math.isfinite(limit) and limit >= 1, "budget", budget, allowed)
    return limit


def _remembered(folder: Path, name: str, measure: Callable[[], float]) -> float:
    """Return a measured number; one that was measured before a rescue was stopped is kept."""
    path = folder / "timings.json"
    known = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    if name not in known:
        known[name] = measure()
        path.write_text(json.dumps(known), encoding="utf-8")
    return known[name]


def _file_name(name: str) -> str:
    return "".join(letter if letter.isalnum() else "-" for letter in name.lower()).strip("-")[:60]


def _save(result: Rescue) -> None:
    """Write the rescue for the page."""
    content: dict[str, Any] = {
        "steps": result.steps,
        "budget": result.budget,
        "cost": result.cost,
        "verdict": result.verdict,
        "conclusion": result.conclusion if result.healthy else "",
        "cured": result.cured,
        "judgement": "" if result.judgement is None else str(result.judgement),
        "faults": [] if result.judgement is None else result.judgement.faults,
        "findings": [vars(finding) for finding in result.findings],
        "before": {"directory": "before", "quality": result.before and vars(result.before)},
        "trials": [
            {
                "name": trial.name,
                "directory": str(trial.directory.relative_to(result.directory)),
                "outcome": trial.outcome,
                "cost": trial.cost / result.steps,
                "score": trial.score,
                "quality": trial.quality and vars(trial.quality),
                "command": trial.command,
                "python": trial.python,
            }
            for trial in result.trials
        ],
        "best": result.best.name if result.best else None,
    }
    path = result.directory / FILE
    path.with_suffix(".tmp").write_text(json.dumps(content, indent=1), encoding="utf-8")
    path.with_suffix(".tmp").replace(path)
    write_rescue_report(result.directory)
