"""Writes the findings of all sections as a page and a JSON file."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path

from benchmarks.gpu.findings import Finding

HEAD = """# Benchmarks on a GPU

Written by `benchmarks/gpu.sh`; do not edit. Every check compares a device with the processor, from the same state and
the same random numbers: the relative difference ‖a − b‖/‖a‖, maximised over the players' parameters. Every time is a
median over interleaved rounds, after the device has finished its work. A ratio is our time divided by that of the
hand-written eager PyTorch loop (`benchmarks/loops.py`) on the same networks, data and optimizer, with its quartiles in
brackets.
"""


@dataclass
class Outcome:
    """The outcome of a section.

    Args:
        title: title of the section.
        status: "running", "done", or the reason why it ended early.
        seconds: duration.
        findings: the findings of the section.
    """

    title: str
    status: str = "not run"
    seconds: float = 0.0
    findings: list[Finding] = field(default_factory=list)


def write(folder: Path, about: dict[str, str], outcomes: dict[str, Outcome]) -> None:
    """Write the page and the JSON file."""
    folder.mkdir(parents=True, exist_ok=True)
    content = {"about": about, "sections": {name: asdict(outcome) for name, outcome in outcomes.items()}}
    _replace(folder / "gpu.json", json.dumps(content, indent=1, ensure_ascii=False) + "\n")
    _replace(folder / "benchmarks-gpu.md", text(about, outcomes))


def _replace(path: Path, content: str) -> None:
    temporary = path.with_name(f".{path.name}.tmp")
    temporary.write_text(content, encoding="utf-8")
    temporary.replace(path)


def text(about: dict[str, str], outcomes: dict[str, Outcome]) -> str:
    """Return the text of the page."""
    parts = [HEAD, "\n| | |\n| --- | --- |\n"]
    parts += [f"| {name} | {_cell(value)} |\n" for name, value in about.items()]
    findings = [finding for outcome in outcomes.values() for finding in outcome.findings]
    failed = sum(finding.reached is False for finding in findings)
    passed = sum(finding.reached is True for finding in findings)
    parts.append(f"\n{passed} checks hold, {failed} do not.\n")
    for outcome in outcomes.values():
        parts.append(f"\n## {outcome.title}\n\n")
        if outcome.status != "done":
            parts.append(f"**{outcome.status}**\n\n")
        if outcome.findings:
            parts.append("|  | measured | target |  |  |\n| --- | --- | --- | --- | --- |\n")
        for finding in outcome.findings:
            verdict = {True: "reached", False: "**missed**", None: ""}[finding.reached]
            cells = (finding.what, finding.measured, finding.target, verdict, finding.detail)
            parts.append("| " + " | ".join(map(_cell, cells)) + " |\n")
        parts.append(f"\n{outcome.seconds:.0f} s.\n")
    return "".join(parts)


def _cell(value: str) -> str:
    return " ".join(value.split()).replace("|", "\\|")
