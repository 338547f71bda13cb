"""`detente demo`."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from pathlib import Path

from detente.cli import configuration
from detente.cli.command_words import Parser
from detente.cli.commands.compare import carry_out_all
from detente.training.run import Run

RANK = 10
DESCRIPTION = "Train four methods on a ring of Gaussians and a DCGAN on digits, and write a page about them."

SEEDS = ("0", "1", "2")
RING = ("--game", "ring", "--steps", "5000", "--seeds", *SEEDS, "--measure_every", "500")
# Each method at the best rate of the sweep in docs/log.md (5,000 steps, three other seeds).
METHODS = {
    "simultaneous": ("--method.learning_rate", "3e-4"),
    "alternating": ("--method.learning_rate", "1e-3"),
    "extragradient": ("--method.learning_rate", "1e-3"),
    "consensus": ("--method.learning_rate", "1e-3"),
}
# Rare measurements: with a classifier, the nine metrics of digits take seconds.
DIGITS = "--game digits --method alternating --method.learning_rate 5e-4 --steps 800 --measure_every 100".split()
DIAGNOSED = ("simultaneous", "consensus")


def main(words: Sequence[str]) -> int:
    """Run the demonstration, and return the exit status."""
    parser = Parser("demo", DESCRIPTION, "examples:\n  detente demo\n  detente demo --out runs/again")
    parser.add("--out", Path, "folder to make (default: runs/demo, or the first free runs/demo-2, …)", None)
    parser.add("--overwrite", bool, "replace an existing demonstration", False)
    options = parser.parse(words)
    runs = {name: _described(*RING, "--method", name, *settings) for name, settings in METHODS.items()}
    runs["digits"] = _described(*DIGITS)
    return carry_out_all(runs, options.out or _free(Path("runs/demo")), options.overwrite, DIAGNOSED)


def _free(folder: Path) -> Path:
    """Return the folder, or the first of its numbered names that does not exist."""
    names = (folder if number == 1 else folder.with_name(f"{folder.name}-{number}") for number in itertools.count(1))
    return next(name for name in names if not name.exists())


def _described(*words: str) -> tuple[Run, dict]:
    parser = configuration.parser("demo", DESCRIPTION)
    options = configuration.parse(parser, words)
    return configuration.build(parser, options), configuration.resolved(parser, options)
