"""From run directories to one self-contained HTML page that fetches nothing."""

from __future__ import annotations

import base64
import hashlib
import os
import shlex
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from string import Template

from plotly.offline import get_plotlyjs

from detente.report import palette, sections, tables
from detente.report.charts import curve_charts
from detente.report.comparison import against
from detente.report.escape import script_data, text
from detente.report.paired_words import paired_table, sentences, sweep_table
from detente.report.run import Run
from detente.report.run_directory import read_runs
from detente.report.samples import samples
from detente.report.spectra import spectra
from detente.report.standing import standings
from detente.report.verdict import verdict

HERE = Path(__file__).parent


def write_report(paths: list[Path], out: Path) -> Path:
    """Write the report of all runs that `paths` are or hold to the file `out`, replacing it in one move.

    Args:
        paths: run directories, or folders whose sub-folders are run directories.
        out: the HTML file to write; its folder is made.

    Returns:
        `out`.

    Raises:
        InvalidValue: when a path neither is nor holds a run directory.
    """
    runs = read_runs(paths)
    folder = Path(paths[0]).resolve()
    title = folder.name if len(paths) == 1 else f"{len(runs)} runs"
    page = render(runs, title, [Path(path) for path in paths], out)
    out.parent.mkdir(parents=True, exist_ok=True)
    draft = out.with_name(f".{out.name}.{os.getpid()}.tmp")
    try:
        draft.write_text(page, encoding="utf-8")
        draft.replace(out)
    finally:
        draft.unlink(missing_ok=True)
    return out


def render(runs: Sequence[Run], title: str, paths: Sequence[Path], out: Path) -> str:
    """Return the page as text."""
    ranked = standings(runs)
    told = against(runs, paths)
    claims = [text(sentence) for sentence in sentences(runs, ranked, told)] if told else []
    charts = curve_charts(runs)
    points, lost_points = samples(runs)
    eigenvalues, lost_eigenvalues = spectra(runs)
    shown = [{"name": run.name, "colour": palette.colour(index)} for index, run in enumerate(runs)]
    data = script_data({"runs": shown, "charts": charts, "samples": points, "spectra": eigenvalues})
    scripts = [_plotly(), _asset("panels.js"), _asset("page.js")]
    return Template(_asset("page.html")).substitute(
        policy=text(_policy(scripts)),
        style=_asset("page.css"),
        title=text(title),
        verdict=" ".join([verdict(runs, ranked), *claims]),
        final=tables.final_table(runs, ranked),
        paired=paired_table(runs, ranked, told),
        sweeps=sweep_table(runs, told),
        differences=tables.difference_table(runs),
        legend=sections.legend(runs),
        curves=sections.curves(charts),
        samples=sections.panels(runs, points, "samples", "No samples were recorded."),
        spectra=sections.panels(runs, eigenvalues, "spectra", "No spectra were recorded."),
        notes=sections.notes([*lost_points, *lost_eigenvalues]),
        configurations=tables.configurations(runs),
        again=text(shlex.join(["detente", "report", *map(str, paths), "--out", str(out)])),
        data=data,
        scripts="".join(f"<script>{script}</script>" for script in scripts),
    )


@cache
def _asset(name: str) -> str:
    return (HERE / name).read_text(encoding="utf-8")


@cache
def _plotly() -> str:
    return get_plotlyjs()


def _policy(scripts: Sequence[str]) -> str:
    """Return a content policy: only these very scripts run, and nothing at all is fetched."""
    digests = (base64.b64encode(hashlib.sha256(script.encode()).digest()).decode() for script in scripts)
    allowed = " ".join(f"'sha256-{digest}'" for digest in digests)
    return f"default-src 'none'; script-src {allowed}; style-src 'unsafe-inline'; img-src data: blob:"
