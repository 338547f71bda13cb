"""Run all measurements, or the named ones: `python -m benchmarks [names] [--quick] [--write]`."""

from __future__ import annotations

import argparse
import sys
import time

from rich.console import Console
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from benchmarks import page
from benchmarks.isolated_job import measure_in_process

JOBS = (
    "whole_job",
    "compiling",
    "start",
    "dcgan28",
    "images",
    "small_mlp",
    "job_t",
    "many_seeds",
    "memory",
    "spectrum",
    "step_cost",
    "calls",
    "examples",
    "sgan",
    "frechet",
    "drawing",
    "growth",
    "ranks",
)


def main() -> int:
    """Measure, print the rows and write the page; return 1 if a measurement fails."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="name", help=f"measurements: {', '.join(JOBS)} (default: all)")
    parser.add_argument("--quick", action="store_true", help="fewer repetitions; the page says so")
    parser.add_argument(
        "--write", action="store_true", help="also write docs/benchmarks.md and benchmarks/results.json"
    )
    options = parser.parse_args()
    for name in options.names:
        if name not in JOBS:
            parser.error(f"unknown measurement {name!r}; choose from {', '.join(JOBS)}")
    console, failed, pages = Console(), 0, []
    columns = SpinnerColumn(), TextColumn("{task.description}"), TimeElapsedColumn()
    with Progress(*columns, console=console) as progress:
        for name in options.names or JOBS:
            task = progress.add_task(name, total=1)
            start, environment = time.perf_counter(), page.machine()
            rows = measure_in_process(name, options.quick)
            progress.update(task, completed=1)
            if isinstance(rows, str):
                failed += 1
                console.print(f"[red]{name}: {rows}")
                continue
            pages = page.keep(name, rows, options.quick, environment, time.perf_counter() - start, options.write)
            for row in rows:
                target = "" if row.target is None else f"  {row.sense} {row.target:g}: {row.verdict.strip('*')}"
                console.print(f"  {row.what}: [bold]{row.median:.2f}[/] ({row.low:.2f}–{row.high:.2f}){target}")
                if row.detail:
                    console.print(f"    [dim]{row.detail}")
    if pages:
        console.print(f"written: {', '.join(str(path.relative_to(page.ROOT)) for path in pages)}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
