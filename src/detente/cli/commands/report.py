"""`detente report`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from detente.cli.command_words import Parser
from detente.cli.display import console
from detente.errors import InvalidValue

RANK = 90
DESCRIPTION = "Write one self-contained page about runs and comparisons, finished or in progress, or about a search."
EXAMPLES = "examples:\n  detente report runs/ring runs/one --out page.html"


def main(words: Sequence[str]) -> int:
    """Write the page, and return the exit status."""
    parser = Parser("report", DESCRIPTION, EXAMPLES)
    parser.add("runs", list[Path], "run directories, or folders of them; or the folder of a search")
    parser.add("--out", Path, "page to write (default: report.html)", Path("report.html"))
    options = parser.parse(words)
    from detente.cli.result_tables import comparison_lines, outcome_table
    from detente.report.page import write_report
    from detente.report.search import is_search, read_search, search_lines, write_search_report

    try:
        if len(options.runs) == 1 and is_search(options.runs[0]):
            page = write_search_report(options.runs[0], options.out)
            for line in search_lines(read_search(options.runs[0])):
                console.print(line, soft_wrap=True)
            console.print(f"The page: {page}", soft_wrap=True)
            return 0
        page = write_report(options.runs, options.out)
    except InvalidValue as error:
        field = "runs" if error.field == "paths" else error.field
        raise InvalidValue(field, error.value, error.allowed, error.hint) from error
    except OSError as error:
        reason = error.strerror or str(error)
        raise InvalidValue("out", str(options.out), "a file that can be written", reason) from error
    console.print(outcome_table(options.runs))
    for line in comparison_lines(options.runs):
        console.print(line, soft_wrap=True)
    console.print(f"The page: {page}", soft_wrap=True)
    return 0
