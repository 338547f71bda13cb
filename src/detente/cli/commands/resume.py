"""`detente resume`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from detente.cli import configuration
from detente.cli.commands.train import carry_out, longer
from detente.cli.option_help import Words

DESCRIPTION = "Go on from the last checkpoint of a run, to its planned end or beyond."
EXAMPLES = "examples:\n  detente resume runs/one\n  detente resume runs/one --steps 3000"


def main(words: Sequence[str]) -> int:
    """Resume, and return the exit status."""
    parser = Words("resume", DESCRIPTION, EXAMPLES)
    parser.add_argument("run", type=Path, help="run directory")
    parser.add_argument("--steps", type=int, help="train up to this step (default: as planned)")
    parser.add_argument("--seconds", type=float, help="train each seed for so many seconds in all")
    parser.add_argument("--changed-data", action="store_true", help="go on although the data have changed")
    options = parser.parse_args(words)
    made, described = configuration.from_directory(options.run)
    run = configuration.build(made, described)
    run = longer(run, options.steps, options.seconds)
    content = configuration.resolved(made, described)
    kept = ("steps", "seconds", "record_every", "measure_every", "checkpoint_every")
    content |= {name: getattr(run, name) for name in kept}
    return carry_out(run, options.run, content, resume=True, changed_data=options.changed_data)
