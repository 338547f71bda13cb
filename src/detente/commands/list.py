"""`detente list`."""

from __future__ import annotations

from collections.abc import Sequence

from rich.table import Table

from detente.catalogue import FOLDERS, members, summary
from detente.commands.display import console
from detente.errors import unknown
from detente.naming import games, named_methods
from detente.option_help import Words

DESCRIPTION = "List the members of every folder, one line each."
EXAMPLES = "examples:\n  detente list\n  detente list methods"


def main(words: Sequence[str]) -> int:
    """Print the members, and return the exit status."""
    parser = Words("list", DESCRIPTION, EXAMPLES)
    parser.add_argument("folder", nargs="?", help="only this one, e.g. methods")
    options = parser.parse_args(words)
    tables = {"games": games, "methods": named_methods}
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
