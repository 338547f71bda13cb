"""`detente list`."""

from __future__ import annotations

from collections.abc import Sequence

from rich.text import Text

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
        console.print(Text(folder, style="underline"))
        for name, member in found.items():
            line = Text.assemble("  ", (f"{name:<{max(map(len, found))}}", "bold"), f"  {summary(member)}")
            # One line each: cut at a terminal's edge, whole in a file or a pipe.
            whole = not console.is_terminal
            console.print(line, no_wrap=True, overflow="ignore" if whole else "ellipsis", crop=not whole)
    return 0
