"""From the directory of a rescue to one self-contained HTML page: findings, trials, and the cure that worked."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

from detente.report.formatting import format_number
from detente.report.page import assets, render_template, write_page
from detente.report.rescue_charts import SHOWN, loss_charts, quality_charts, score_chart, signal_charts
from detente.report.rescue_record import Attempt, RescueRecord, read_rescue
from detente.report.samples import sample_panels
from detente.report.statistics import thin

MOMENTS = 4  # of samples over time
NUMBERS = {  # of the samples' quality: title, what it means, and its value for real samples
    "cells": (
        "Regions of the data reached",
        "share of the data’s regions that contain a fair share of the samples",
        "100 %",
    ),
    "variance": ("Variance", "relative to the data’s; far below 1, the samples are too similar", "1"),
    "precision": ("Samples that look real", "as near to real samples as other real ones; 1 is as good as real", "1"),
    "coverage": ("Real samples with a neighbour", "real samples with one nearby; 1 is as good as real", "1"),
    "distance": ("Distance to the data", "energy distance; 0 is as good as real, 1 is far away", "0"),
    "spread": ("Correct spread in each direction", "mean over directions; near 0, much too small or too large", "1"),
}
CURVES = {key: NUMBERS[key][0] for key in ("cells", "variance", "precision", "distance")}


class Frame(NamedTuple):
    """A picture of samples on the page: the run's panel, "before" or "after", the step that is shown, and a remark."""

    panel: int
    name: str
    step: int | None
    remark: str = ""


def write_rescue_report(directory: Path) -> Path:
    """Write the page of the rescue in `directory` to its file ``report.html``, and return that file.

    Args:
        directory: what `detente.rescue` wrote; files that are missing or broken are left out.
    """
    directory = Path(directory)
    return write_page(render(read_rescue(directory), directory.resolve().name), directory / "report.html")


def render(record: RescueRecord, title: str) -> str:
    """Return the page as text."""
    untreated, best, attempts = record.untreated, record.best, record.attempts
    named = [(colour, attempt.name, attempt) for colour, attempt in enumerate(attempts)]
    compared = [entry for entry in named if entry[2] is untreated or entry[2] is best]
    colour = attempts.index(untreated)
    samples, notes = sample_panels([replace(attempt.run, name=attempt.name) for _, _, attempt in compared])
    quality, score = quality_charts(compared, CURVES), score_chart(named) if record.trials else []
    losses = loss_charts(untreated.run, colour)
    first = len(quality) + len(score) + len(losses)
    signals, shown, folded = signal_charts(
        untreated, record.findings, colour, first, most=0 if record.healthy else SHOWN
    )
    charts = [*quality, *score, *losses, *signals]
    return render_template(
        "rescue.html",
        **assets(("page.css", "rescue.css"), ("panels.js", "rescue.js")),
        title=title,
        record=record,
        headline=headline(record),
        summary=summary(record),
        rows=sample_rows(record, samples),
        kinds={panel["kind"] for panel in samples["panels"]},
        numbers=numbers(record),
        trials=trials(record),
        charts=charts,
        places=_places([len(quality), len(score), len(losses)]),
        shown=shown,
        folded=folded,
        colours={"own": colour, "best": 0},
        notes=[*record.notes, *notes],
        data={"runs": [{"name": attempt.name} for attempt in attempts], "samples": samples, "charts": charts},
    )


def headline(record: RescueRecord) -> str:
    """Return the outcome as one plain sentence."""
    failures = _listed(record.failures)
    if record.healthy:
        return record.conclusion
    if not record.finished:
        return f"This rescue has not ended{f'; found so far: {failures}' if failures else ''}."
    if record.cured and record.best:
        return f"This GAN failed ({failures}), and was cured by: {record.best.name}."
    count = sum(trial.steps > 0 for trial in record.trials)
    if not count:
        reason = "the budget is too small for any cure" if record.trials else "no cure that détente knows applies"
        return f"This GAN failed ({failures}), and {reason}."
    tried = "the only tried cure did not work" if count == 1 else f"none of the {count} tried cures worked"
    return f"This GAN failed ({failures}), and {tried}."


def summary(record: RescueRecord) -> list[str]:
    """Return the sentences below the headline."""
    untreated, best, sentences = record.untreated, record.best, []
    duration = f"after {format_number(untreated.steps)} of {format_number(record.steps)} steps"
    if record.healthy:
        if untreated.quality:
            sentences.append(f"{duration.capitalize()}, its samples {_in_words(untreated)}.")
        sentences.append("No failure was found, so nothing was changed.")
    elif untreated.diverged:
        sentences.append(f"As it was, it {untreated.diverged}.")
    elif untreated.quality:
        sentences.append(f"As it was, {duration}, its samples {_in_words(untreated)}.")
    if best and best.quality:
        name = "the cure" if record.cured else f"the best trial ({best.name})"
        sentences.append(f"With {name}, after {format_number(best.steps)} steps, they {_in_words(best)}.")
        if record.judgement:
            sentences.append(f"On fresh samples: {record.judgement}.")
        if record.faults and not record.cured:
            sentences.append(f"This is not a cure, since {'; '.join(record.faults)}.")
    if record.cost is not None and record.budget is not None:
        sentences.append(
            f"It cost {format_number(record.cost, 2)} of at most {format_number(record.budget, 2)} runs’ compute."
        )
    return sentences


def numbers(record: RescueRecord) -> list[dict[str, Any]]:
    """Return the rows of the table of the samples' quality, before and after."""
    attempts_shown = [record.untreated, *([record.best] if record.best else [])]
    return [
        {"title": title, "about": about, "real": real, "values": [_value(key, attempt) for attempt in attempts_shown]}
        for key, (title, about, real) in NUMBERS.items()
        if any(key in attempt.quality for attempt in attempts_shown)
    ]


def trials(record: RescueRecord) -> list[dict[str, Any]]:
    """Return the rows of the table of trials: the user's own set-up, and every cure in the order of trial."""
    rows = []
    for attempt in (record.untreated, *record.trials):
        is_untreated = attempt is record.untreated
        outcome = attempt.diverged or ("the observed set-up" if is_untreated else attempt.outcome)
        cost = attempt.steps / record.steps if is_untreated and record.steps else attempt.cost
        rows.append(
            {
                "colour": record.attempts.index(attempt),
                "name": attempt.name,
                "best": attempt is record.best,
                "steps": format_number(attempt.steps) if attempt.steps else None,
                "cost": None if not cost else format_number(round(cost, 3), 2),
                "cells": _value("cells", attempt),
                "variance": _value("variance", attempt),
                "outcome": outcome,
                "diverged": bool(attempt.diverged),
            }
        )
    return rows


def sample_rows(record: RescueRecord, samples: dict[str, Any]) -> list[list[Frame]]:
    """Return the pictures of samples over time: one row for each moment, before and after side by side.

    If they were not recorded at the same steps, the nearest one of the run before is shown, with its step.
    """
    steps = [_steps(panel) for panel in samples["panels"]]
    if record.best is None:
        return [[Frame(0, "", step)] for step in _moments(steps[0])]
    after, before = steps
    rows = []
    for step in _moments(after or before):
        at = min(before, key=lambda shown_step, step=step: (abs(shown_step - step), shown_step), default=None)
        remark = "Its run ended here." if before and step > before[-1] and at == before[-1] else ""
        rows.append([Frame(1, "before", at, remark), Frame(0, "after", step if after else None)])
    return rows


def _steps(panel: dict[str, Any]) -> list[int]:
    """Return the steps of the first seed's frames."""
    return sorted(int(step) for step in next(iter(panel["frames"].values()), {}))


def _moments(steps: Sequence[int]) -> list[int]:
    """Return the steps to show; untrained networks only if there is space."""
    return thin(steps if len(steps) <= MOMENTS else [step for step in steps if step], MOMENTS)


def _places(counts: Sequence[int]) -> list[range]:
    """Return the places of consecutive lists of charts."""
    boundaries = [sum(counts[: index + 1]) for index in range(len(counts))]
    return [range(end - count, end) for end, count in zip(boundaries, counts, strict=True)]


def _value(key: str, attempt: Attempt) -> str | None:
    value = attempt.quality.get(key)
    if value is None:
        return None
    return f"{100 * value:.0f} %" if key == "cells" else format_number(round(value, 4), 2)


def _in_words(attempt: Attempt) -> str:
    cells, variance = _value("cells", attempt), _value("variance", attempt)
    parts = [
        f"reach {cells} of the data’s regions" if cells else "",
        f"have {variance} of its variance" if variance else "",
    ]
    return " and ".join(filter(None, parts)) or "are not finite"


def _listed(words: Sequence[str]) -> str:
    return " and ".join(filter(None, [", ".join(words[:-1]), *words[-1:]]))
