"""`detente data`."""

from __future__ import annotations

import importlib
import itertools
import time
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
from rich.progress import Progress as Bar
from rich.table import Table
from rich.text import Text

from detente.cli.command_words import Parser
from detente.cli.display import console
from detente.cli.terminal import Console
from detente.data.sources import SOURCES, named
from detente.errors import InvalidValue, unknown

if TYPE_CHECKING:
    from torch import Tensor

RANK = 110
DESCRIPTION = "List, prepare and describe image and text sets, and train a classifier of one."
ACTIONS = {
    "list": "list the sets that can be prepared, and those that are",
    "prepare": "download a set, or read its files, and store it for training",
    "info": "describe a prepared set, and verify its checksums",
    "classifier": "train and store a classifier for metrics",
}
EXAMPLES = """\
examples:
  detente data list
  detente data prepare fashion_mnist
  detente data prepare celeba-32 --source ~/celeba --skip-broken
  detente data info fashion_mnist
"""
INTERVAL = 10.0  # seconds between lines without a terminal


def main(words: Sequence[str]) -> int:
    """Run one of `ACTIONS`, and return the exit status."""
    if not words or words[0] in ("-h", "--help"):
        lines = [f"  {name:<11} {about}" for name, about in ACTIONS.items()]
        print("\n".join(["usage: detente data ACTION …", "", DESCRIPTION, "", *lines, "", EXAMPLES.rstrip()]))
        return 0
    action, following = words[0], words[1:]
    if action not in ACTIONS:
        raise unknown("action", action, ACTIONS)
    if action == "classifier":
        return importlib.import_module("detente.cli.classifier").main(following)
    return {"list": _list, "prepare": _prepare, "info": _info}[action](following)


def _list(words: Sequence[str]) -> int:
    Parser("data list", f"Show {ACTIONS['list']}.").parse(words)
    from detente.data.cache import prepared_names

    head = ("name", "what it is", "samples", "shape", "from", "prepared")
    sizes: dict[str, list[str]] = {}
    for name in prepared_names():
        sizes.setdefault(name.partition("-")[0], []).append(str(named(name).size))
    rows = []
    for name, source in SOURCES.items():
        prepared = f"at {', '.join(sizes[name])}" if name in sizes else "—"
        rows.append((name, source.title, f"{source.count:,}", _shape(source.shape), source.hub, prepared))
    if console.is_terminal:
        table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
        for title in head:
            no_wrap = title in ("name", "samples", "shape", "from")
            table.add_column(title, style="bold" if title == "name" else None, no_wrap=no_wrap, overflow="fold")
        for row in rows:
            table.add_row(*map(Text, row[:-1]), Text(row[-1], style="dim" if row[-1] == "—" else "green"))
        console.print(table)
    else:  # whole lines, for a file or a pipe
        widths = [max(len(row[column]) for row in (head, *rows)) for column in range(len(head))]
        for row in (head, *rows):
            print("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())
    packages = [f"{name} from Debian's {source.installed[1]}" for name, source in SOURCES.items() if source.installed]
    for note in (
        "NAME-SIZE prepares another size, e.g. celeba-32.",
        f"From the Hugging Face hub; {', '.join(packages)} if installed; your own files with --source PATH.",
        "Always available: digits (5,000 of MNIST), stacked_mnist, small_text; `detente list data` shows every kind.",
    ):
        console.print(note, soft_wrap=not console.is_terminal, style="dim", markup=False)
    return 0


def _prepare(words: Sequence[str]) -> int:
    parser = Parser("data prepare", f"{ACTIONS['prepare'].capitalize()}.", EXAMPLES)
    parser.add("name", str, "as in `detente data list`; a size may follow, as in celeba-32")
    parser.add("--source", Path, "Parquet, IDX, NPZ or text file, or folder of these or of images", None)
    parser.add("--skip-broken", bool, "skip what cannot be read, and report how many", False)
    options = parser.parse(words)
    source = named(options.name)
    from detente.data.cache import open_set
    from detente.data.preparation.preparation import prepare

    start = last_print = time.monotonic()
    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(bar_width=24),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
    )
    last, path = None, None if options.source is None else options.source.expanduser()
    stderr = Console(stderr=True)
    with Bar(*columns, console=stderr, disable=not stderr.is_terminal, transient=True) as bar:
        task = bar.add_task(f"preparing {options.name}", total=None)
        with closing(prepare(options.name, path, options.skip_broken)) as steps:
            for last in steps:
                bar.update(task, completed=last.done, total=last.total)
                if not stderr.is_terminal and time.monotonic() - last_print > INTERVAL:
                    last_print = time.monotonic()
                    print(f"{options.name}: {last.done:,} of {last.total:,}", flush=True)
    opened = open_set(options.name, source.kind)
    count = f"{len(opened.samples):,} {_unit(opened.about)} of {_shape(opened.samples.shape[1:])}"
    if last is None:
        text = f"{options.name}: {count} were already prepared and are undamaged"
    else:
        text = f"{options.name}: {count}, {_size(opened.samples.nbytes)}, prepared in {time.monotonic() - start:.1f} s"
        text += f", continued at {last.before:,}" if last.before else ""
        text += f"; {last.skipped:,} broken left out" if last.skipped else ""
    console.print(text, soft_wrap=True, markup=False)
    return 0


def _info(words: Sequence[str]) -> int:
    parser = Parser("data info", f"Show {ACTIONS['info']}.", EXAMPLES)
    parser.add("name", str, "as in `detente data list`; a size may follow, as in celeba-32")
    name = parser.parse(words).name
    source = named(name)
    from detente.data.cache import open_set, sets
    from detente.data.preparation.preparation import damage

    opened, place = open_set(name, source.kind), sets() / name
    about = opened.about
    problem = damage(place)
    if problem is not None:
        raise InvalidValue("name", name, f"an undamaged set; {problem}", f"Run again: detente data prepare {name}")
    left_out = about["skipped"]
    member = "text" if about["kind"] == "text" else "prepared"
    rows = {
        "what it is": f"{about['title']}; {about['paper']}",
        "samples": f"{len(opened.samples):,} {_unit(about)} of {_shape(opened.samples.shape[1:])}",
        "splits": ", ".join(f"{split} {end - start:,}" for split, (start, end) in about["splits"].items()),
        "classes": _classes(opened.labels, about["classes"]),
        "vocabulary": f"{len(about['vocabulary'])} characters" if about["vocabulary"] else "",
        "made from": about["source"] + (f", middle {about['crop']} × {about['crop']} pixels" if about["crop"] else ""),
        "left out": f"{len(left_out):,} broken: {', '.join(left_out[:3])}{' …' * (len(left_out) > 3)}"
        if left_out
        else "",
        "lies in": f"{place} ({_size(sum(file.stat().st_size for file in place.iterdir()))})",
        "checksum": f"verified: SHA-256 {next(iter(about['sha256'].values()))}",
        "use it": f"--game.data {member} --game.data.name {name}",
    }
    table = Table(box=None, show_header=False, pad_edge=False, title=name, title_justify="left", title_style="bold")
    table.add_column(style="dim", no_wrap=True)
    table.add_column(overflow="fold")
    for title, value in rows.items():
        if value and console.is_terminal:
            table.add_row(title, Text(value))
        elif value:
            print(f"{title:<11} {value}")
    if console.is_terminal:
        console.print(table)
    return 0


def _classes(labels: Tensor | None, names: Sequence[str]) -> str:
    if labels is None:
        return ""
    counts = labels[labels >= 0].bincount().tolist()
    if len(counts) > 20:
        return f"{len(counts):,}"
    named_counts = zip(itertools.zip_longest(range(len(counts)), names, fillvalue=""), counts, strict=False)
    return ", ".join(f"{' '.join(map(str, name)).strip()}: {count:,}" for name, count in named_counts)


def _unit(about: dict) -> str:
    return "lines" if about["kind"] == "text" else "images"


def _shape(shape: Sequence[int]) -> str:
    return f"{shape[0]} characters" if len(shape) == 1 else " × ".join(map(str, shape))


def _size(count: int) -> str:
    return f"{count / 1e9:.2f} GB" if count >= 1e9 else f"{count / 1e6:.1f} MB"
