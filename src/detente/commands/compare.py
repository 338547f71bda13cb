"""`detente compare`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from detente import configuration
from detente.commands.diagnose import diagnosis
from detente.commands.display import console, outcome_table
from detente.commands.train import carry_out
from detente.errors import InvalidValue
from detente.report.page import write_report
from detente.training.run import Run

DESCRIPTION = "Train one game under several methods with the same seeds, side by side, and write one page about them."
EXAMPLES = """\
examples:
  detente compare --game ring --methods simultaneous consensus --seeds 0 1 2 --steps 2000 --out runs/ring
  detente compare --game ring --methods consensus:strength=1 consensus:strength=10 --out runs/strength
"""


def main(words: Sequence[str]) -> int:
    """Train under every method, write the page, and return the exit status."""
    parser = configuration.parser("compare", DESCRIPTION, EXAMPLES, without=("method",))
    parser.add_argument(
        "--methods",
        metavar="NAME …",
        type=list[str],
        help="names from `detente list methods`, each with settings if wanted: NAME:KEY=VALUE,…",
    )
    parser.add_argument("--out", type=Path, help="folder to make, with one run directory for each method")
    parser.add_argument("--overwrite", action="store_true", help="replace runs that are there")
    options = configuration.parse(parser, words, lists=("seeds", "methods"))
    if not options.methods:
        raise InvalidValue("methods", options.methods, ", ".join(configuration.named_methods()))
    if options.out is None:
        raise InvalidValue("out", None, "a folder to write the runs into", "Say where with --out runs/NAME")
    rest = _without(list(words), ("--methods", "--out", "--overwrite"))
    runs = {_label(method): _described(method, rest) for method in options.methods}
    return carry_out_all(runs, options.out, overwrite=options.overwrite)


def carry_out_all(
    runs: dict[str, tuple[Run, dict]], folder: Path, overwrite: bool = False, diagnosed: Sequence[str] = ()
) -> int:
    """Train every run into a folder of its own, diagnose some, write the page, and return the exit status."""
    status = 0
    width = max(map(len, runs))
    for label, (run, described) in runs.items():
        status = carry_out(run, folder / label, described, overwrite=overwrite, name=label.ljust(width), quiet=True)
        if status:
            return status
    for label in diagnosed:
        for line in diagnosis(folder / label):
            console.print(line, soft_wrap=isinstance(line, str))
    console.print(outcome_table([folder]))
    page = write_report([folder], folder / "report.html")
    console.print(f"The page: {page}", soft_wrap=True)
    return status


def _described(method: str, rest: list[str]) -> tuple[Run, dict]:
    name, _, settings = method.partition(":")
    words = [*rest, "--method", name]
    for setting in filter(None, settings.split(",")):
        key, equals, value = setting.partition("=")
        if not equals:
            raise InvalidValue("methods", method, "NAME or NAME:KEY=VALUE,KEY=VALUE")
        words.append(f"--method.{key}={value}")
    parser = configuration.parser("train", "")
    options = configuration.parse(parser, words)
    return configuration.build(parser, options), configuration.resolved(parser, options)


def _label(method: str) -> str:
    return "".join(letter if letter.isalnum() or letter in "_-.=," else "-" for letter in method)


def _without(words: list[str], options: tuple[str, ...]) -> list[str]:
    """Return the words without some options and their values."""
    kept, dropping = [], False
    for word in words:
        if word.startswith("--"):
            dropping = word.partition("=")[0] in options
        if not dropping:
            kept.append(word)
    return kept
