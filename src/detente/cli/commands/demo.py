"""`detente demo`."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from detente.cli import configuration
from detente.cli.command_words import Parser
from detente.cli.commands import rescue
from detente.cli.commands.compare import carry_out_all
from detente.cli.display import console

if TYPE_CHECKING:
    from detente.training.run import Run

RANK = 10
DESCRIPTION = (
    "Train four methods on a ring of Gaussians and a DCGAN on digits, rescue a GAN that fails, and report on all."
)

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
# A discriminator that learns a hundred times as fast as the generator, as in a textbook's list of pitfalls (ML4ME).
FAILING = (
    *("--game", "ring", "--game.radius", "3", "--game.standard_deviation", "0.25", "--game.points", "5000"),
    *(
        "--game.width",
        "128",
        "--game.depth",
        "2",
        "--game.latent",
        "2",
        "--game.batch",
        "256",
        "--method",
        "alternating",
    ),
    *("--method.learning_rate.generator", "1e-5", "--method.learning_rate.discriminator", "1e-3", "--steps", "1500"),
)


def main(words: Sequence[str]) -> int:
    """Run the demonstration, and return the exit status."""
    parser = Parser("demo", DESCRIPTION, "examples:\n  detente demo\n  detente demo --out runs/again")
    parser.add("--out", Path, "output folder (default: runs/demo, or the first free runs/demo-2, …)", None)
    parser.add("--overwrite", bool, "replace an existing demonstration", False)
    options = parser.parse(words)
    runs = {name: _described(*RING, "--method", name, *settings) for name, settings in METHODS.items()}
    runs["digits"] = _described(*DIGITS)
    folder = options.out or _free(Path("runs/demo"))
    if status := carry_out_all(runs, folder, options.overwrite, DIAGNOSED):
        return status
    console.print("\nLast part: rescue a GAN that fails.", soft_wrap=True)
    status = rescue.main([*FAILING, "--out", str(folder / "rescue"), *(["--overwrite"] if options.overwrite else [])])
    from detente.report.page import write_report

    write_report([folder], folder / "report.html")  # again, with a link to the rescue
    return status


def _free(folder: Path) -> Path:
    """Return the folder, or the first of its numbered names that does not exist."""
    names = (folder if number == 1 else folder.with_name(f"{folder.name}-{number}") for number in itertools.count(1))
    return next(name for name in names if not name.exists())


def _described(*words: str) -> tuple[Run, dict]:
    options = configuration.parse(configuration.parser("demo", DESCRIPTION), words)
    return configuration.build(options), configuration.resolved(options)
