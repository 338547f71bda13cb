"""`detente list`."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from rich.table import Table
from rich.text import Text

from detente.cli.command_words import Parser
from detente.cli.display import console, print_members
from detente.errors import unknown
from detente.registry import CHOICES, choices, summary
from detente.registry.outlines import Outline

RANK = 20
DESCRIPTION = "List all games, methods (with their cost and when to use them), losses, networks, metrics and so on."
EXAMPLES = "examples:\n  detente list\n  detente list methods\n  detente list metrics"
WIDE = 130  # smallest width of a terminal with five columns
COST = "gradients a step"


def main(words: Sequence[str]) -> int:
    """Print the members, and return the exit status."""
    parser = Parser("list", DESCRIPTION, EXAMPLES)
    parser.add("folder", str, "list only this kind, e.g. methods", None)
    options = parser.parse(words)
    if options.folder is not None and options.folder not in CHOICES:
        raise unknown("folder", options.folder, CHOICES)
    if options.folder == "methods":
        _print_methods(choices("methods"))
    elif options.folder == "metrics":
        _print_metrics(choices("metrics"))
    else:
        for folder in [options.folder] if options.folder else CHOICES:
            print_members(choices(folder), Text(folder, style="underline"))
    return 0


def section(member: object, heading: str) -> str:
    """Return the section of a docstring after a heading such as `Source:`, as one line; empty if it has none."""
    match = re.search(rf"^{heading}: *(.*(?:\n[ \t]+.*)*)", inspect.getdoc(member) or "", re.MULTILINE)
    return re.sub(r"\s+", " ", match[1]).strip() if match else ""


def paper(member: object) -> str:
    """Return authors, years and arXiv numbers from a docstring's `Source:`."""
    papers: list[str] = []
    for part in section(member, "Source").split(";"):
        year, number = re.match(r"\s*(.*?\b(?:19|20)\d\d)\b", part), re.search(r"arXiv:[\w.]*\w", part)
        papers += [year[1]] if year else []
        if number and papers and "(" not in papers[-1]:
            papers[-1] += f" ({number[0]})"
    return "; ".join(papers)


def _print_metrics(metrics: dict[str, Outline]) -> None:
    head = ("metric", "better", "what it measures", "what it needs")
    rows = [(name, kind.constant("better"), summary(kind), kind.constant("needs")) for name, kind in metrics.items()]
    notes = [
        "Every training measures those that are fast and apply to its game; --metrics NAME … adds others, also "
        "MODULE.NAME of your own, with settings as in fid:real=50000.",
        "detente evaluate runs/x --metrics NAME … measures them on a checkpoint.",
    ]
    if console.is_terminal:
        table = Table(box=None, pad_edge=False, padding=(0, 2, 0 if console.width >= WIDE else 1, 0), show_edge=False)
        table.add_column(head[0], style="bold", no_wrap=True)
        table.add_column(head[1], no_wrap=True)
        for column, ratio in zip(head[2:], (3, 2), strict=True):
            table.add_column(column, ratio=ratio, overflow="fold")
        for row in rows:
            table.add_row(*map(Text, row))
        console.print(table)
    else:
        _print_lines(head, rows)
    _print_notes(notes)


def _print_methods(methods: Mapping[str, Any]) -> None:
    rows = []
    for name, member in methods.items():
        registration = member.decoration("registered")
        cost = f"{registration['cost']:g}" if registration else "—"
        rows.append((name, cost, summary(member), registration.get("use", ""), paper(member)))
    notes = [
        f"{COST}: gradients of one player's loss on one batch, on the game `ring` with the method's own settings.",
        "— method: its field and scheme decide.",
    ]
    head = ("method", COST, "what it is", "use it", "paper")
    if console.is_terminal:
        console.print(_table(head, rows))
    else:
        _print_lines(head, rows)
    _print_notes(notes)


def _print_lines(head: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print whole lines, for a file or a pipe."""
    widths = [max(len(row[column]) for row in (head, *rows)) for column in range(len(head))]
    for row in (head, *rows):
        print("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())


def _print_notes(notes: Sequence[str]) -> None:
    for note in notes:
        console.print(note, soft_wrap=not console.is_terminal, style="dim", markup=False)


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> Table:
    """Return the methods for a terminal: five columns if they fit, otherwise three."""
    wide = console.width >= WIDE
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0 if wide else 1, 0), show_edge=False)
    table.add_column(head[0], style="bold", no_wrap=True)
    table.add_column(head[1].replace(" a ", "\na "), justify="right", no_wrap=True)
    for column, ratio in zip(head[2:] if wide else ["what it is, when to use it, paper"], (4, 4, 3), strict=False):
        table.add_column(column, ratio=ratio, overflow="fold")
    for name, number, description, use, source in rows:
        about = [description, f"Use it {use}." if use else "", source]
        joined = Text("\n").join([Text(part, style="dim" * (part == source)) for part in about if part])
        texts = [Text(description), Text(use), Text(source, style="dim")] if wide else [joined]
        table.add_row(Text(name), number, *texts)
    return table
