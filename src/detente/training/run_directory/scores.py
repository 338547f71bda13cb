"""The metrics in the record: `metrics.json` describes every key of the values in `metrics.jsonl`."""

from __future__ import annotations

import itertools
import json
import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from detente.metrics.base import Metric, Stamp
from detente.registry import name_of
from detente.training.measurement import Score
from detente.training.run_directory.directory import write_text
from detente.training.run_directory.lock import DirectoryLock

FILE, LINES = "metrics.json", "metrics.jsonl"
NEW = {"missing": ""}  # an entry without values


def read_entries(directory: Path) -> dict[str, Any]:
    """Return the content of metrics.json; empty if it cannot be read."""
    try:
        content = json.loads((directory / FILE).read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return {}
    return content if isinstance(content, dict) else {}


def write_entries(directory: Path, entries: Mapping[str, Any]) -> None:
    """Write metrics.json atomically."""
    write_text(directory / FILE, json.dumps(entries, indent=1, ensure_ascii=False))


def describe_metric(name: str, metric: Metric) -> dict[str, Any]:
    """Return the title, the unit and the direction of a metric. The title also names settings, but no extractor.

    Args:
        name: its name in the record, such as "fid:real=50000".
        metric: the metric.
    """
    title = metric.title or name_of(type(metric)).replace("_", " ").capitalize()
    settings = [part for part in name.partition(":")[2].split(",") if part and not part.startswith("extractor=")]
    title += f" ({', '.join(settings)})" if settings else ""
    return {"title": title, "unit": metric.unit, "better": metric.better}


def key_for(entries: dict[str, Any], name: str, metric: Metric, stamp: Stamp, training: bool = False) -> str:
    """Return the key of a metric's values with one stamp, and describe it in `entries`.

    The key is the metric's name, unless the record has values with another stamp under this name. Then it also has the
    counts of real and generated samples that differ, as in "fid samples=50000".

    Args:
        entries: the content of metrics.json; changed.
        name: the metric's name.
        metric: the metric.
        stamp: how the values are measured.
        training: whether they are measured during training, which continues the values without a stamp.
    """
    before = entries.get(name, NEW).get("stamp") or {}
    counts = [
        f"{count}={stamp[count]}"
        for count in ("real", "samples")
        if count in stamp and stamp[count] != before.get(count)
    ]
    other = " ".join([name, *counts])
    keys = itertools.chain([name], [other] if counts else [], (f"{other} ({number})" for number in itertools.count(2)))
    free = (None, dict(stamp)) if training else (dict(stamp),)
    unused = (key for key in keys if "missing" in (entry := entries.get(key, NEW)) or entry.get("stamp") in free)
    key = next(unused)
    entries[key] = {**describe_metric(name, metric), "metric": name, "stamp": dict(stamp)}
    return key


def add_scores(
    directory: Path,
    step: int,
    scores: Mapping[int, Mapping[str, Score]],
    metrics: Mapping[str, Metric],
    costs: Mapping[int, Mapping[str, float]],
) -> None:
    """Add scores to the record of a run, atomically.

    Args:
        directory: the run directory.
        step: step at which they were measured.
        scores: scores by seed and name. Those that could not be measured are left out.
        metrics: the metrics by name.
        costs: further values of each seed's line, if the record has no line for it at this step.

    Raises:
        InvalidValue: another process writes into the directory.
    """
    with DirectoryLock(directory, "run"):
        entries, lines = read_entries(directory), _read_lines(directory / LINES)
        for seed, by_name in scores.items():
            measured = {name: score for name, score in by_name.items() if not score.problem}
            values = {
                key_for(entries, name, metrics[name], score.stamp): score.value if math.isfinite(score.value) else None
                for name, score in measured.items()
            }
            if values:
                _add(lines, {"seed": seed, "step": step, **costs.get(seed, {})}, values)
        write_entries(directory, entries)
        write_text(directory / LINES, "".join(f"{text}\n" for text, _ in lines))


Line = tuple[str, dict[str, Any]]


def _read_lines(path: Path) -> list[Line]:
    """Return every line with its content; an empty one for a line that cannot be read, which is kept."""
    text = path.read_text(encoding="utf-8") if path.exists() else ""
    return list(_parsed(text))


def _parsed(text: str) -> Iterator[Line]:
    for line in filter(str.strip, text.split("\n")):
        try:
            content = json.loads(line)
        except (ValueError, RecursionError):
            content = None
        yield line, content if isinstance(content, dict) else {}


def _add(lines: list[Line], head: dict[str, Any], values: dict[str, float | None]) -> None:
    """Add values to the last line of a seed at a step, or in a new line after the lines of earlier steps."""
    same = [i for i, (_, c) in enumerate(lines) if (c.get("seed"), c.get("step")) == (head["seed"], head["step"])]
    if same:
        content = lines[same[-1]][1]
        content = {**content, "metrics": {**content.get("metrics", {}), **values}}
        lines[same[-1]] = json.dumps(content), content
        return
    content = {**head, "metrics": values}
    earlier = [i for i, (_, c) in enumerate(lines) if isinstance(c.get("step"), int) and c["step"] <= head["step"]]
    lines.insert(earlier[-1] + 1 if earlier else 0, (json.dumps(content), content))
