"""`detente evaluate`."""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from detente.cli import configuration, recorded_runs
from detente.cli.command_words import Parser
from detente.cli.display import console
from detente.cli.terminal import quoted
from detente.errors import InvalidValue
from detente.report.run_directory import find_runs

if TYPE_CHECKING:
    from detente.training.run_directory.evaluation import Evaluation

RANK = 75
DESCRIPTION = "Measure metrics on a checkpoint of a run, and add them to its record and its report."
EXAMPLES = """\
examples:
  detente evaluate runs/cifar --metrics fid kid --n 50000
  detente evaluate runs/one --metrics log_likelihood coverage --step 1000
  detente evaluate runs/mine --metrics my_module.MyMetric
  detente evaluate runs/mine --metrics frechet_distance:extractor=dinov2.pt2,real=50000

`detente list metrics` says what each metric measures and needs. Training is not affected.
"""
INTERVAL = 10.0  # seconds between lines without a terminal


def main(words: Sequence[str]) -> int:
    """Measure, record and print the scores, and return the exit status."""
    parser = Parser("evaluate", DESCRIPTION, EXAMPLES)
    parser.add("runs", list[Path], "run directories, or folders of them")
    text = "names from `detente list metrics`, optionally with settings: NAME:KEY=VALUE,…; or MODULE.NAME of your own"
    parser.add("--metrics", list[str], f"{text} (default: those of the training)", None, "NAME")
    parser.add("--n", int, "number of generated samples (default: as in the training)", None)
    parser.add("--step", int, "the checkpoint of this step (default: the last)", None)
    options = parser.parse(words)
    try:
        paths = find_runs(options.runs)
    except InvalidValue as error:
        raise InvalidValue("runs", error.value, error.allowed, error.hint) from error
    from detente.training.run_directory.evaluation import evaluate

    measured = False
    for path in map(_shown, paths):
        run = configuration.build(recorded_runs.from_directory(path))
        with _Bar(path.name) as bar:
            evaluation = evaluate(run, path, options.metrics, options.n, options.step, bar.track)
        console.print(_table(path, evaluation))
        for seed in evaluation.diverged:
            console.print(f"{path}: seed {seed} had diverged and was not measured.", soft_wrap=True)
        measured = measured or any(not s.problem for scores in evaluation.scores.values() for s in scores.values())
    if not measured:
        console.print("Nothing could be measured.")
        return 1
    shown = " ".join(quoted(path) for path in options.runs)
    console.print(f"Recorded. Look at it: detente report {shown} --out page.html", soft_wrap=True)
    return 0


class _Bar:
    """A bar for each stage of a measurement; without a terminal, a line every ten seconds."""

    def __init__(self, name: str) -> None:
        self.name, self.last_print = name, time.monotonic()
        columns = TextColumn("{task.description}", markup=False), BarColumn(bar_width=24), TimeRemainingColumn()
        self.progress = Progress(*columns, console=console, disable=not console.is_terminal, transient=True)

    def __enter__(self) -> _Bar:
        self.progress.start()
        return self

    def __exit__(self, *error: object) -> None:
        self.progress.stop()

    def track(self, items: Iterable[Any], name: str, total: int) -> Iterator[Any]:
        """Yield the items, and show how many are done."""
        task = self.progress.add_task(f"{self.name}: {name}", total=total)
        for done, item in enumerate(items, start=1):
            yield item
            self.progress.update(task, completed=done)
            if not console.is_terminal and time.monotonic() - self.last_print > INTERVAL:
                print(f"{self.name}: {name}: {done} of {total}", file=sys.stderr)
                self.last_print = time.monotonic()
        self.progress.remove_task(task)


def _shown(path: Path) -> Path:
    """Return a path relative to the current folder, if it lies inside."""
    return path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path


def _table(path: Path, evaluation: Evaluation) -> Table:
    from detente.report.formatting import format_interval
    from detente.report.stamps import describe_stamp
    from detente.report.statistics import confidence_interval

    table = Table(title=f"{path}, step {evaluation.step} (mean ± 95 % interval over seeds)", title_justify="left")
    for heading in ("metric", "value", "measured with"):
        table.add_column(heading, justify="right" if heading == "value" else "left", overflow="fold")
    arrows = {"higher": " ↑", "lower": " ↓", "none": ""}
    for name, metric in evaluation.metrics.items():
        scores = [scores[name] for scores in evaluation.scores.values()]
        interval = confidence_interval(score.value for score in scores if math.isfinite(score.value))
        value = f"{format_interval(interval)} {metric.unit}".strip() if interval else "–"
        finite = f" ({interval.n} of {len(scores)} seeds)" if interval and interval.n < len(scores) else ""
        table.add_row(name + arrows[metric.better], value + finite, describe_stamp(scores[0].stamp) if scores else "")
    return table
