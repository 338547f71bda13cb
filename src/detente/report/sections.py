"""The places of curves, samples and spectra on the page, and the controls around them; the script fills them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from detente.report.charts import ARROWS, HEADINGS
from detente.report.escape import text
from detente.report.run import Run
from detente.report.tables import swatch

AXES = (("run", "fixed for each run"), ("all", "the same for all runs"), ("step", "fitted to each step"))


def legend(runs: Sequence[Run]) -> str:
    """Return one button a run, which is its legend and shows or hides it."""
    return "".join(
        f'<button type="button" class="chip" aria-pressed="true" data-run="{index}" '
        f'title="Show or hide {text(run.name)}">{swatch(index)}{text(run.name)}</button>'
        for index, run in enumerate(runs)
    )


def curves(charts: Sequence[dict[str, Any]]) -> str:
    """Return the places of the curves, a heading a group."""
    parts = []
    for group, heading in HEADINGS.items():
        figures = [_curve(index, chart) for index, chart in enumerate(charts) if chart["group"] == group]
        if figures:
            parts.append(f'<h3>{heading}</h3><div class="grid">{"".join(figures)}</div>')
    return "".join(parts) or '<p class="quiet">No curves were recorded.</p>'


def _curve(index: int, chart: dict[str, Any]) -> str:
    title, arrow = text(chart["title"]), ARROWS[chart["better"]]
    unit = f' <span class="unit">({text(chart["unit"])})</span>' if chart["unit"] else ""
    box = f'<input type="checkbox" data-log="{index}"{" checked" if chart["logarithmic"] else ""}>'
    # A logarithmic axis is offered only where every mean is positive.
    log = f'<label class="log">{box} log</label>' if chart["ranges"][1] is not None else ""
    said = f"{title}. {text(chart['description'])}"
    return (
        f'<figure><figcaption><span>{title} <span class="arrow">{arrow}</span>{unit}</span>{log}</figcaption>'
        f'<div class="plot" data-chart="{index}" role="img" aria-label="{said}"></div></figure>'
    )


def panels(runs: Sequence[Run], data: dict[str, Any], name: str, empty: str) -> str:
    """Return the controls and the places of a section's panels, one a run."""
    if not data["steps"]:
        return f'<p class="quiet">{empty}</p>'
    seeds = "".join(f'<option value="{seed}">{seed}</option>' for seed in data["seeds"])
    axes = "".join(f'<option value="{key}">{said}</option>' for key, said in AXES)
    axes = f'<label>Axes <select data-axes="{name}">{axes}</select></label>' if name == "spectra" else ""
    last = len(data["steps"]) - 1
    pairs = " pairs" if name == "samples" else ""
    return (
        f'<div class="controls"><button type="button" data-play="{name}" aria-label="Play through training">▶</button>'
        f'<label class="slide"><span>Step <output data-step="{name}"></output></span>'
        f'<input type="range" min="0" max="{last}" value="{last}" step="1" data-slider="{name}"></label>'
        f'<label>Seed <select data-seed="{name}">{seeds}</select></label>{axes}</div>'
        f'<div class="grid squares{pairs}">{"".join(_panel(runs, p, name) for p in data["panels"])}</div>'
    )


def _panel(runs: Sequence[Run], panel: dict[str, Any], name: str) -> str:
    index = panel["run"]
    place = f'data-panel="{name}-{index}" role="img" aria-label="{name} of {text(runs[index].name)}"'
    return (
        f'<figure data-run="{index}"><figcaption><span>{swatch(index)}{text(runs[index].name)}</span></figcaption>'
        f'<div class="square" {place}></div><p class="says" data-says="{name}-{index}"></p></figure>'
    )


def notes(lines: Sequence[str]) -> str:
    """Return the list of files that could not be shown, nothing where all could."""
    items = "".join(f"<li>{text(line)}</li>" for line in lines)
    return f'<ul class="notes" aria-label="Files that could not be shown">{items}</ul>' if items else ""
