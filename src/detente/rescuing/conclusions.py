"""What the checks and the short run of a set-up show together."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from detente.checks.base import FAILURES, Finding
from detente.rescuing.judgement import VARIANCE
from detente.rescuing.short_run import findings_of
from detente.signals.base import FAR, History
from detente.signals.reference import Quality

CERTAIN = 0.5  # findings that are less certain are mentioned, but not treated
SURE = 0.8  # findings before any step that are as certain come first
GOOD = 0.4  # coverage and precision, relative to real samples, of a run that refutes a suspicion
WEAK = 0.5  # certainty of what a check suspects up to which samples that are roughly right refute it
DOUBTFUL = 0.45  # certainty of a weak suspicion if the run shows no failure
REACHED = 0.5  # share of the regions that such samples reach
UNSEEN = ("too few data", "labels ignored", "artefact")  # failures in spite of which samples seem good
SYMPTOMS = FAILURES[: FAILURES.index("unbounded critic")]  # failures that others may cause
PROBABLE = 0.65  # certainty from which a cause is among the first two findings
EVIDENCE = 3  # sentences of evidence for a failure


def concluded(checked: Sequence[Finding], history: History, quality: Quality | None) -> list[Finding]:
    """Return the findings of checks and signals, without what a check only suspects and good samples refute.

    A weak suspicion is no more than a doubt if the run shows no failure.

    Args:
        checked: what the checks found before any step.
        history: what the short run showed.
        quality: quality of its last samples, or None if they were never seen.
    """
    least = 0.0
    if quality is not None:
        least = SURE if _good(quality, history) else WEAK + 1e-9 if roughly_right(quality) else 0.0
    left = [finding for finding in checked if finding.certainty >= least or finding.failure in UNSEEN]
    observed = findings_of(history)
    if all(f.certainty <= WEAK for f in left) and all(f.certainty < CERTAIN for f in observed):
        left = [replace(finding, certainty=min(finding.certainty, DOUBTFUL)) for finding in left]
    return merged(left, observed)


def _good(quality: Quality, history: History) -> bool:
    """Return whether a run's samples are so good that what a check only suspects is no failure."""
    low, high = VARIANCE
    alike = min(quality.coverage, quality.precision) >= GOOD
    return not history.far and alike and low <= quality.variance <= high


def roughly_right(quality: Quality) -> bool:
    """Return whether samples are where the data are, as wide, and in most of their regions."""
    low, high = VARIANCE
    return low <= quality.variance <= high and quality.distance <= FAR and quality.cells >= REACHED


def merged(checked: Sequence[Finding], observed: Sequence[Finding]) -> list[Finding]:
    """Return one finding for each failure, with the evidence of both stages.

    What is surely wrong before any step comes first, since it may be the cause of what a run shows; then the most
    certain. A probable cause is among the first two, also where symptoms are more certain.
    """
    by_failure: dict[str, list[Finding]] = {}
    for finding in sorted((*checked, *observed), key=lambda finding: -finding.certainty):
        by_failure.setdefault(finding.failure, []).append(finding)
    causes = {finding.failure for finding in checked if finding.certainty >= SURE}
    findings = [
        replace(
            same[0],
            evidence=" ".join(dict.fromkeys(finding.evidence for finding in same[:EVIDENCE])),
            by_hand=any(finding.by_hand and finding.certainty >= SURE for finding in same),
        )
        for same in by_failure.values()
    ]
    ordered = sorted(findings, key=lambda finding: finding.failure not in causes)
    if all(finding.failure in SYMPTOMS and finding.failure not in causes for finding in ordered[:2]):
        probable = [f for f in ordered[2:] if f.failure not in SYMPTOMS and f.certainty >= PROBABLE]
        if probable:
            ordered.remove(probable[0])
            ordered.insert(1, probable[0])
    return ordered
