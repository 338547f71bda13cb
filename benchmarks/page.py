"""Stores the results, one entry per job, and makes the page from them.

Measurements are stored under runs/bench/, which git ignores. On request they are also written to the tracked files
benchmarks/results.json and docs/benchmarks.md.
"""

from __future__ import annotations

import datetime
import json
import os
import platform
import subprocess
from pathlib import Path
from typing import Any

import torch

from benchmarks.row import Row

ROOT = Path(__file__).parents[1]
LOCAL = ROOT / "runs" / "bench" / "results.json", ROOT / "runs" / "bench" / "benchmarks.md"
TRACKED = ROOT / "benchmarks" / "results.json", ROOT / "docs" / "benchmarks.md"
TITLES = {
    "whole_job": "Whole jobs, from the shell's prompt to the result on disk (one thread)",
    "compiling": "Compiling, in a new process without compiled code (one thread; the C++ compiler beside it)",
    "start": "Start: seconds from Enter (one thread, files in memory)",
    "dcgan28": "Eager steps, DCGAN for 28 × 28 pixels (batch 50, two threads)",
    "images": "Compiled steps of image GANs (two threads, one step a graph)",
    "small_mlp": "Compiled steps, 4×16 MLPs (batch 512, one thread, one step a graph)",
    "job_t": "Job T: ring, MLPs of width 128, alternating Adam (batch 256, one thread)",
    "many_seeds": "Many seeds at once",
    "memory": "Memory",
    "spectrum": "Spectra (one thread)",
    "step_cost": "Steps in units of a simultaneous step (MLPs of width 128, batch 256, eager, one thread)",
    "calls": "Python calls and allocations in a step (job T's networks, eager)",
    "examples": "Eager steps of the games of examples/ (one thread, processor time)",
    "sgan": "SGAN: all pairs as one step (4×16 MLPs, batch 512, one thread)",
    "frechet": "Fréchet distance of Inception's number of features",
    "drawing": "Drawing from a prepared set on disk",
    "growth": "Growth of a step (ring, MLPs, one thread): exponents over two decades",
    "ranks": "Several processes (gloo on one machine, one thread each)",
    "peers": "Other libraries on job T and on its zero-sum variant (one thread)",
}
HEAD = """# Benchmarks

Written by `make bench WRITE=1` (and `make bench-peers WRITE=1`); do not edit. Without `WRITE=1`, the measurements of
your machine go to `runs/bench/benchmarks.md`, and this page does not change.

Ratios are medians over interleaved repetitions in one process: every round times every candidate, a ratio is taken per
round, and the quartiles of these ratios are in brackets. Unless a line says otherwise, a ratio is our time divided
by that of a hand-written PyTorch loop (`benchmarks/loops.py`) on the same networks, data and optimizer, where each
draws its own batches.
"""


def machine() -> dict[str, str]:
    """Return date, machine and versions of a measurement."""
    name, cores = platform.processor() or platform.machine(), os.cpu_count()
    if Path("/proc/cpuinfo").exists():
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        name = next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), name)
    load = f"{os.getloadavg()[0]:.1f}" if hasattr(os, "getloadavg") else "unknown"
    revision = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"], cwd=ROOT, capture_output=True, text=True, check=False
    ).stdout.strip()
    return {
        "date": datetime.date.today().isoformat(),
        "machine": f"{name}, {cores} cores, {platform.system()}; load when it began {load}",
        "versions": f"torch {torch.__version__}, Python {platform.python_version()}, détente at {revision}",
    }


def keep(
    name: str, rows: list[Row], quick: bool, environment: dict[str, str], seconds: float, write: bool = False
) -> list[Path]:
    """Store the rows of one job in runs/bench/, with `write` also in the tracked files; return the pages' paths."""
    record = {**environment, "quick": quick, "seconds": round(seconds), "rows": [row.record() for row in rows]}
    pages = []
    for path, page in (LOCAL, TRACKED) if write else (LOCAL,):
        results = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
        results[name] = record
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(results, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
        page.write_text(text(results), encoding="utf-8")
        pages.append(page)
    return pages


def text(results: dict[str, Any]) -> str:
    """Return the text of the page."""
    parts = [HEAD]
    for name in (name for name in TITLES if name in results):
        job = results[name]
        columns = ("", "ratio", "") if name == "peers" else ("", "median (quartiles)", "target", "", "")
        parts.append(f"\n## {TITLES[name]}\n\n| {' | '.join(columns)} |\n|{' --- |' * len(columns)}\n")
        for row in (Row(**record) for record in job["rows"]):
            spread = f" ({row.low:.2f}–{row.high:.2f})" if row.low != row.high else ""
            number = f"{row.median:.2f}{spread}" if row.median == row.median else "—"
            target = "" if row.target is None else f"{row.sense} {row.target:g}"
            cells = [row.what, number, row.detail] if name == "peers" else _cells(row, number, target)
            parts.append("| " + " | ".join(cells) + " |\n")
        quick_note = "a quick look (`--quick`), " if job["quick"] else ""
        parts.append(f"\n{quick_note}{job['date']}, {job['seconds']} s. {job['machine']}. {job['versions']}.\n")
    return "".join(parts)


def _cells(row: Row, number: str, target: str) -> list[str]:
    return [row.what, number, target, row.verdict, row.detail]
