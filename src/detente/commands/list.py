"""`detente list`."""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from rich.table import Table

from detente import configuration
from detente.catalogue import FOLDERS, members, summary
from detente.commands.display import console
from detente.errors import unknown

DESCRIPTION = "List the members of every folder, one line each."


def main(words: Sequence[str]) -> int:
    """Print the members, and return the exit status."""
    parser = argparse.ArgumentParser(prog="detente list", description=DESCRIPTION)
    parser.add_argument("folder", nargs="?", help="only this one, e.g. methods")
    options = parser.parse_args(words)
    tables = {"games": configuration.games, "methods": configuration.named_methods}
    folders = list(dict.fromkeys(["games", "methods", *FOLDERS]))
    if options.folder is not None and options.folder not in folders:
        raise unknown("folder", options.folder, folders)
    for folder in [options.folder] if options.folder else folders:
        found = tables[folder]() if folder in tables else members(folder)
        table = Table(box=None, show_header=False, pad_edge=False, padding=(0, 2, 0, 0))
        table.add_column(no_wrap=True, style="bold")
        table.add_column(no_wrap=True, overflow="ellipsis")
        for name, member in found.items():
            table.add_row(f"  {name}", summary(member))
        console.print(f"[underline]{folder}[/underline]")
        console.print(table)
    return 0
