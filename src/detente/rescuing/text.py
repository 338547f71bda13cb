"""What a rescue found, tried and cured, in plain words."""

from __future__ import annotations

from detente.rescuing.conclusions import CERTAIN
from detente.rescuing.rescue import Rescue
from detente.rescuing.trial import Trial
from detente.signals.reference import Quality


def lines(result: Rescue) -> list[str]:
    """Return what was found, what was tried, and what cured it."""
    return [*found(result), "", *tried(result), *([""] if result.trials else []), *cured(result)]


def found(result: Rescue) -> list[str]:
    """Return the findings: the failure, how sure it is, the evidence, and what to change."""
    short = (
        f"after {result.history.steps[-1]} of {result.steps} steps" if result.history and result.history.steps else ""
    )
    if result.healthy:
        quality = f": {_words(result.before)} {short}" if result.before and short else ""
        heading = [f"Found: nothing wrong{quality}. {result.conclusion}"]
    else:
        heading = ["Found"]
    listed = []
    for finding in result.findings:
        sure = "" if finding.certainty >= CERTAIN else ", so it was not treated"
        listed += [
            f"  {finding.failure} ({finding.certainty:.0%} sure{sure})",
            f"    {finding.evidence}",
            f"    Change: {finding.remedy}",
        ]
    return [*heading, *listed]


def tried(result: Rescue) -> list[str]:
    """Return the trials with their outcomes."""
    if result.healthy:
        return ["Tried: nothing, since nothing needs a cure."]
    if result.only_by_hand:
        return ["Tried: nothing. Only a change of your own code or data helps; see the finding."]
    if not result.trials:
        return ["Tried: nothing. No cure applies; change what the findings name."]
    heading = f"Tried ({result.cost:.2g} of {result.budget:g} runs' compute)"
    before = f"  {'as it was':<48} {_words(result.before)}" if result.before else ""
    return [heading, *filter(None, [before]), *(f"  {trial.name:<48} {_outcome(trial)}" for trial in result.trials)]


def cured(result: Rescue) -> list[str]:
    """Return what cured the GAN, with the lines to use it, or that nothing did."""
    if result.healthy:
        return []
    if result.best is None or not result.cured:
        better = f" The best was {result.best.name}: {_reached(result)}." if result.best and result.after else ""
        faults = f" This is not a cure, since {'; '.join(result.judgement.faults)}." if result.judgement else ""
        how = [*_judged(result), *_how(result)] if result.best else []
        return [f"Cured: no.{better}{faults}", *_withheld(result), *how]
    return [f"Cured by: {result.best.name}: {_reached(result)}.", *_judged(result), *_how(result)]


def _reached(result: Rescue) -> str:
    """Return how good the best trial's samples are: the fresh ones that are judged, else the last observed ones."""
    return _words(result.judgement.quality if result.judgement else result.after)


def _judged(result: Rescue) -> list[str]:
    """Return the numbers of the last judgement."""
    return [f"  On fresh samples: {result.judgement}."] if result.judgement else []


def _withheld(result: Rescue) -> list[str]:
    """Return what was not tried since it changes the networks."""
    if not result.withheld:
        return []
    titles = "; ".join(title[:1].lower() + title[1:] for title in result.withheld)
    return [f"Not tried, since they change the networks: {titles}. Allow this with --may-change-networks."]


def _how(result: Rescue) -> list[str]:
    assert result.best is not None
    trial = result.best
    command = ["", f"  {trial.command}"] if trial.command else []
    python = ["", *(f"  {line}" for line in trial.python.splitlines())] if trial.python else []
    longer = trial.whole != result.steps
    count = ["", f"  Its steps cost less: train {trial.whole} steps instead of {result.steps}."] if longer else []
    return [*command, *python, *count, "", f"  The run: {trial.directory}"]


def _outcome(trial: Trial) -> str:
    quality = trial.quality
    return f"{trial.outcome}{f'; {_words(quality)}' if quality and not trial.observed.diverged else ''}"


def _words(quality: Quality | None) -> str:
    if quality is None:
        return "nothing measured"
    if quality.variance != quality.variance:
        return "samples that are not finite"
    return f"{quality.cells:.0%} of the data's regions reached, variance {quality.variance:.2g} of the data's"
