"""`detente resume`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from detente.cli import configuration, recorded_runs
from detente.cli.command_words import Parser
from detente.cli.commands.train import carry_out
from detente.cli.ranks import add_options, all_ranks, built_everywhere

RANK = 60
DESCRIPTION = "Continue a run from its last checkpoint, to its planned end or beyond."
EXAMPLES = "examples:\n  detente resume runs/one\n  detente resume runs/one --steps 3000"


def main(words: Sequence[str]) -> int:
    """Resume, and return the exit status."""
    parser = Parser("resume", DESCRIPTION, EXAMPLES)
    parser.add("run", Path, "run directory")
    parser.add("--steps", int, "train up to this step (default: as planned)", None)
    parser.add("--seconds", float, "train each seed for this many seconds in total", None)
    parser.add("--changed-data", bool, "continue although the data have changed", False)
    add_options(parser)
    options = parser.parse(words)
    with all_ranks(options) as ranks:
        recorded = built_everywhere(lambda: recorded_runs.from_directory(options.run), ranks)
        run = built_everywhere(lambda: configuration.build(recorded).until(options.steps, options.seconds), ranks)
        changed = ("steps", "seconds", "record_every", "measure_every", "checkpoint_every")
        content = configuration.resolved(recorded) | {name: getattr(run, name) for name in changed}
        return carry_out(run, options.run, content, resume=True, changed_data=options.changed_data, ranks=ranks)
