"""`detente export`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from detente.cli import recorded_runs
from detente.cli.command_words import Parser
from detente.cli.display import console
from detente.cli.naming import parameters
from detente.errors import InvalidValue
from detente.registry.outlines import outline

RANK = 77
DESCRIPTION = "Export a run's trained modules: safetensors with a config.json, or programs of torch.export."
EXAMPLES = """\
examples:
  detente export runs/mine --to exported
  detente export runs/mine --to exported --format torch_export

In Python, detente.load_exported("exported") returns the modules by player.
"""


def main(words: Sequence[str]) -> int:
    """Export the modules, and return the exit status."""
    parser = Parser("export", DESCRIPTION, EXAMPLES)
    parser.add("run", Path, "run directory")
    parser.add("--to", Path, "output folder, e.g. exported", None)
    text = "safetensors (state dictionaries) or torch_export (programs that run without the classes)"
    formats = parameters(outline("detente.training.export.export"))[0]["format"].annotation
    parser.add("--format", formats, f"{text} (default: safetensors)", "safetensors")
    parser.add("--seed", int, "one of the run's seeds (default: the first)", None)
    parser.add("--step", int, "from the checkpoint of this step (default: the last)", None)
    parser.add("--overwrite", bool, "replace an earlier export", False)
    options = parser.parse(words)
    if options.to is None:
        raise InvalidValue("to", None, "a folder to write the modules into", "Say where with --to FOLDER")
    run, trained = recorded_runs.trained(options.run, options.seed, options.step)
    from detente.training.export import export
    from detente.training.stepper import Stepper

    stepper = Stepper(run.game, run.method)
    stepper.state = trained.state
    about = {"run": str(options.run), "seed": trained.seed}
    folder = export(stepper, options.to, options.format, _arguments(options.run), options.overwrite, **about)
    console.print(f"{folder}: the modules of seed {trained.seed} at step {trained.step}", soft_wrap=True)
    return 0


def _arguments(directory: Path) -> dict[str, Mapping[str, Any]]:
    """Return the settings of the modules that a run's game was given by import path."""
    from detente.training.run_directory.description import read_configuration

    game = read_configuration(directory).get("game")
    settings = game.get("init_args") if isinstance(game, dict) else None
    described = {name: value for name, value in (settings or {}).items() if isinstance(value, dict)}
    return {name: value.get("init_args") or {} for name, value in described.items() if "class_path" in value}
