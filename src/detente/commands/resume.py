"""`detente resume`."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from detente import configuration
from detente.commands.train import carry_out, longer

DESCRIPTION = "Go on from the last checkpoint of a run, to its planned end or beyond."


def main(words: Sequence[str]) -> int:
    """Resume, and return the exit status."""
    parser = argparse.ArgumentParser(prog="detente resume", description=DESCRIPTION)
    parser.add_argument("run", type=Path, help="run directory")
    parser.add_argument("--steps", type=int, help="train up to this step (default: as planned)")
    options = parser.parse_args(words)
    made, described = configuration.from_directory(options.run)
    run = configuration.build(made, described)
    run = longer(run, options.steps or run.steps)
    content = configuration.resolved(made, described)
    kept = ("steps", "record_every", "measure_every", "checkpoint_every")
    return carry_out(run, options.run, {**content, **{name: getattr(run, name) for name in kept}}, resume=True)
