"""From run directories to one self-contained HTML page that fetches nothing."""

from __future__ import annotations

import base64
import gzip
import hashlib
import os
import shlex
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

import yaml
from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from detente.report import palette
from detente.report.charts import curve_charts
from detente.report.comparison import compare_to_baseline
from detente.report.comparison_text import comparison_sentences, describe_tests
from detente.report.differences import differences
from detente.report.formatting import format_count, format_interval, format_number
from detente.report.ranking import rankings
from detente.report.recorded_run import GROUPS, RecordedRun
from detente.report.results import common_execution, metrics_as_rows, paired_table, results_table, tuning_table
from detente.report.run_directory import read_runs
from detente.report.samples import sample_panels
from detente.report.spectra import spectrum_panels
from detente.report.summary import make_summary

FOLDER = Path(__file__).parent
ARROWS = {"higher": "↑", "lower": "↓", "none": ""}


def write_report(paths: list[Path], out: Path) -> Path:
    """Write the report of all runs in `paths` to the file `out`, which is replaced in one move.

    Args:
        paths: run directories, or folders of run directories.
        out: HTML file to write; its folder is created.

    Returns:
        `out`.

    Raises:
        InvalidValue: a path is neither a run directory nor contains one.
    """
    runs = read_runs(paths)
    folder = Path(paths[0]).resolve()
    title = folder.name if len(paths) == 1 else f"{len(runs)} runs"
    return write_page(render(runs, title, [Path(path) for path in paths], out), out)


def write_page(page: str, out: Path) -> Path:
    """Write a page to the file `out`, which is replaced in one move, and return `out`; its folder is created."""
    out.parent.mkdir(parents=True, exist_ok=True)
    draft = out.with_name(f".{out.name}.{os.getpid()}.tmp")
    try:
        draft.write_text(page, encoding="utf-8")
        draft.replace(out)
    finally:
        draft.unlink(missing_ok=True)
    return out


def render(runs: Sequence[RecordedRun], title: str, paths: Sequence[Path], out: Path) -> str:
    """Return the page as text."""
    metric_rankings = rankings(runs)
    comparison = compare_to_baseline(runs, paths)
    charts = curve_charts(runs)
    samples, sample_notes = sample_panels(runs)
    spectra, spectrum_notes = spectrum_panels(runs)
    names = [{"name": run.name, "colour": palette.colour(index)} for index, run in enumerate(runs)]
    return render_template(
        "page.html",
        **assets(("page.css",), ("panels.js", "page.js")),
        data={"runs": names, "charts": charts, "samples": samples, "spectra": spectra},
        title=title,
        rescues=[os.path.relpath(file.parent, out.parent) for path in paths for file in path.glob("*/rescue.json")],
        runs=runs,
        summary=make_summary(runs, metric_rankings),
        comparison_sentences=comparison_sentences(runs, metric_rankings, comparison) if comparison else [],
        results=results_table(runs, metric_rankings),
        metrics_as_rows=metrics_as_rows(metric_rankings, runs),
        execution=common_execution(runs),
        paired=paired_table(runs, metric_rankings, comparison) if comparison else None,
        tests=describe_tests(comparison) if comparison else "",
        tuning=tuning_table(runs, comparison) if comparison else None,
        differences=differences([run.configuration for run in runs]),
        charts=charts,
        samples=samples,
        spectra=spectra,
        notes=[*sample_notes, *spectrum_notes],
        command=shlex.join(["detente", "report", *map(str, paths), "--out", str(out)]),
    )


def assets(styles: Sequence[str], names: Sequence[str]) -> dict[str, Any]:
    """Return style sheets and scripts of this folder for a template, Plotly first, with the policy that allows them."""
    scripts = [_plotly_loader(), *map(_asset, names)]
    return {
        "policy": _content_policy([*scripts, _plotly()]),
        "style": Markup("".join(map(_asset, styles))),
        "scripts": [Markup(script) for script in scripts],
    }


def render_template(name: str, **context: Any) -> str:
    """Return a template of the folder ``templates`` filled in; every string is escaped."""
    return _environment().get_template(name).render(**context)


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("detente.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.globals.update(palette=palette, arrows=ARROWS, group_headings=GROUPS)
    environment.filters.update(
        command=training_command, count_of=format_count, interval=format_interval, number=format_number, yaml=_yaml
    )
    environment.policies["json.dumps_kwargs"] = {"allow_nan": False, "separators": (",", ":")}
    return environment


def training_command(run: RecordedRun) -> str:
    """Return the recorded command of a run, or if there is none, the command that trains its configuration."""
    recorded = run.configuration.get("command")
    if isinstance(recorded, list):
        return shlex.join(map(str, recorded))
    return str(recorded) if recorded else shlex.join(["detente", "train", "--config", str(run.path / "run.yaml")])


def _yaml(run: RecordedRun) -> str:
    return yaml.safe_dump(dict(run.configuration), sort_keys=False, allow_unicode=True, width=100)


@cache
def _asset(name: str) -> str:
    return (FOLDER / name).read_text(encoding="utf-8")


@cache
def _plotly() -> str:
    """Return plotly.js: the bundle with the traces of the plane, from npm's plotly.js-cartesian-dist-min 4.1.1."""
    return (FOLDER / "plotly-cartesian.min.js").read_bytes().decode()


@cache
def _plotly_loader() -> str:
    """Return the script that holds Plotly compressed, unpacks it and runs it."""
    packed = base64.b64encode(gzip.compress(_plotly().encode(), mtime=0)).decode()
    return _asset("plotly.js").replace("PACKED", packed)


def _content_policy(scripts: Sequence[str]) -> str:
    """Return a content security policy that allows only these scripts and fetches nothing."""
    digests = (base64.b64encode(hashlib.sha256(script.encode()).digest()).decode() for script in scripts)
    allowed = " ".join(f"'sha256-{digest}'" for digest in digests)
    return f"default-src 'none'; script-src {allowed}; style-src 'unsafe-inline'; img-src data: blob:"
