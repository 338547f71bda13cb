"""From the folder of a search to one self-contained HTML page: the best settings, their importance, every trial."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from detente.errors import InvalidValue
from detente.report.formatting import format_number
from detente.report.page import ARROWS, assets, render_template, write_page
from detente.report.search_charts import curve_chart, setting_charts, trial_chart

FILE = "search.json"
STATUSES = ("complete", "pruned", "diverged", "failed", "unfinished")


def is_search(path: Path) -> bool:
    """Return whether a path is the folder of a search."""
    return (path / FILE).is_file()


def write_search_report(directory: Path, out: Path | None = None) -> Path:
    """Write the page of the search in `directory`, and return its file.

    Args:
        directory: folder of the search.
        out: file to write. Default: ``report.html`` in the folder.

    Raises:
        InvalidValue: the record of the search cannot be read.
    """
    directory = Path(directory)
    return write_page(render(read_search(directory), directory), out or directory / "report.html")


def read_search(directory: Path) -> dict[str, Any]:
    """Return the record of the search in a folder.

    Raises:
        InvalidValue: it cannot be read.
    """
    try:
        record = json.loads((directory / FILE).read_text(encoding="utf-8"))
        return {**record, "trials": [dict(trial) for trial in record["trials"]]}
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InvalidValue("paths", str(directory), f"a folder with a readable {FILE}", str(error)) from error


def render(record: Mapping[str, Any], directory: Path) -> str:
    """Return the page as text."""
    charts = [*trial_chart(record), *setting_charts(record), *curve_chart(record, directory)]
    return render_template(
        "search.html",
        **assets(("page.css", "rescue.css"), ("panels.js", "rescue.js")),
        title=directory.resolve().name,
        record=record,
        headline=headline(record),
        summary=summary(record),
        metric=f"{record['title']} {ARROWS[record['better']]}".strip(),
        importance=sorted(record["importance"].items(), key=lambda entry: -entry[1]),
        settings=list(record["over"]),
        trials=trial_rows(record),
        charts=charts,
        data={"runs": [], "samples": {"panels": []}, "charts": charts},
    )


def headline(record: Mapping[str, Any]) -> str:
    """Return the best settings in one sentence."""
    best = best_trial(record)
    if best is None:
        return "No trial has been completed yet." if is_running(record) else "No trial was completed."
    return f"{record['title']}: {_with_unit(best['value'], record)}, with {settings_text(best['parameters'])}."


def summary(record: Mapping[str, Any]) -> list[str]:
    """Return the sentences below the headline."""
    counts = {status: sum(trial["status"] == status for trial in record["trials"]) for status in STATUSES}
    names = {"complete": "completed the budget", "pruned": "ended early"}
    parts = [f"{counts[status]} {names.get(status, status)}" for status in STATUSES if counts[status]]
    planned = f" of {record['planned']}" if record["planned"] > len(record["trials"]) else ""
    count = len(record["run"]["seeds"])
    mean = "value of one seed" if count == 1 else f"mean over {count} seeds"
    sentences = [f"{len(record['trials'])}{planned} trials: {', '.join(parts)}." if parts else "No trial was started."]
    sentences.append(f"The value of a trial is the {mean} after {record['budget']}.")
    if is_running(record):
        sentences.append("The search has not ended; the same command continues it.")
    return sentences


def is_running(record: Mapping[str, Any]) -> bool:
    """Return whether trials are missing or have not ended."""
    ended = [trial for trial in record["trials"] if trial["status"] != "unfinished"]
    return len(ended) < record["planned"]


def best_trial(record: Mapping[str, Any]) -> dict[str, Any] | None:
    """Return the best trial; None if none was completed."""
    return next((trial for trial in record["trials"] if trial["number"] == record["best"]), None)


def trial_rows(record: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the rows of the table of trials, the best first; those without a value last."""
    sign = -1 if record["better"] == "higher" else 1
    ended = {"complete": 0, "pruned": 1}

    def rank(trial: Mapping[str, Any]) -> tuple[float, ...]:
        values = [trial["value"]] if trial["value"] is not None else trial["rungs"]
        group = ended.get(trial["status"], 2)
        return (group, -len(trial["rungs"]), sign * values[-1] if values else 0.0, trial["number"])

    return [
        {
            **trial,
            "values": [setting_text(trial["parameters"].get(name)) for name in record["over"]],
            "shown": value_text(trial),
            "is_best": trial["number"] == record["best"],
        }
        for trial in sorted(record["trials"], key=rank)
    ]


def value_text(trial: Mapping[str, Any]) -> str:
    """Return the value of a trial, or its last one before it ended early."""
    if trial["value"] is not None:
        return format_number(trial["value"])
    return format_number(trial["rungs"][-1]) if trial["rungs"] else ""


def settings_text(parameters: Mapping[str, Any]) -> str:
    """Return settings as ``strength 10, learning rate 0.001``."""
    return ", ".join(f"{name} {setting_text(value)}" for name, value in parameters.items())


def setting_text(value: object) -> str:
    """Return one setting."""
    return f"{value:.4g}" if isinstance(value, float) else "" if value is None else str(value)


def _with_unit(value: float, record: Mapping[str, Any]) -> str:
    return format_number(value) + (f" {record['unit']}" if record["unit"] else "")


def search_lines(record: Mapping[str, Any]) -> Sequence[str]:
    """Return the outcome of a search for the terminal."""
    lines = [headline(record), *summary(record)]
    if record["importance"]:
        shares = sorted(record["importance"].items(), key=lambda entry: -entry[1])
        lines.append("Importance: " + ", ".join(f"{name} {100 * share:.0f} %" for name, share in shares) + ".")
    lines += [f"In Python: {record['python']}"] if record["python"] else []
    return lines + ([f"Train with it: {record['command']}"] if record["command"] else [])
