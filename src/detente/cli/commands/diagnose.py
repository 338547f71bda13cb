"""`detente diagnose`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from rich.table import Table
from rich.text import Text

from detente.cli import recorded_runs
from detente.cli.command_words import Parser
from detente.cli.display import console
from detente.errors import InvalidValue
from detente.registry import members

if TYPE_CHECKING:
    from detente.diagnostics.base import Diagnosis

RANK = 80
DESCRIPTION = "Describe how stable a trained game is: spectrum, largest stable step, gradient norms and noise."
EXAMPLES = "examples:\n  detente diagnose runs/one\n  detente diagnose runs/one --seed 1"


def main(words: Sequence[str]) -> int:
    """Diagnose the last checkpoint of a run, and return the exit status."""
    parser = Parser("diagnose", DESCRIPTION, EXAMPLES)
    parser.add("run", Path, "run directory; the spectrum is written into it, for the report")
    parser.add("--seed", int, "one of the run's seeds (default: the first)", None)
    parser.add("--batches", int, "number of batches for the gradient statistics (default: 16)", 16)
    parser.add("--count", int, "number of eigenvalues, if the game is too large for all (default: 6)", 6)
    options = parser.parse(words)
    for line in diagnosis(options.run, options.seed, options.batches, options.count):
        console.print(line, soft_wrap=isinstance(line, str))
    return 0


def diagnosis(directory: Path, seed: int | None = None, batches: int = 16, count: int = 6) -> list[Table | str]:
    """Return a table and sentences about the last checkpoint of a run, and write its spectrum to the directory."""
    run, trained = recorded_runs.trained(directory, seed)
    import numpy as np
    import torch

    from detente.diagnostics.base import DiagnosticContext
    from detente.diagnostics.findings import VALIDITY

    if trained.diverged_at is not None:
        run_seed = f"{directory}, seed {trained.seed}, which diverged at step {trained.diverged_at}"
        raise InvalidValue("run", run_seed, "a training that has not diverged")
    generator = torch.Generator().manual_seed(trained.seed)
    context = DiagnosticContext(run.game, run.method, trained.state, generator, batches, count)
    results = []
    for diagnostic in sorted((member() for member in members("diagnostics").values()), key=lambda each: each.rank):
        with console.status(Text(f"{directory.name}: {diagnostic.activity}")):
            results.append(diagnostic(context))
    title = f"{directory}, seed {trained.seed}, step {trained.step}"
    tables: list[Table | str] = []
    for result in results:
        if result.arrays:
            (directory / result.folder).mkdir(exist_ok=True)
            path = directory / result.folder / f"seed{trained.seed}-step{trained.step:08d}.npz"
            np.savez_compressed(path, allow_pickle=False, **result.arrays)
        tables += [_table(title, result)] if result.columns else []
    lines = [line for result in results for line in result.lines]
    sentences = [
        sentence for result in sorted(results, key=lambda each: not each.lines) for sentence in result.findings
    ]
    return [*tables, *lines, *(f"• {sentence}" for sentence in (*sentences, VALIDITY))]


def _table(title: str, result: Diagnosis) -> Table:
    table = Table(title=title, title_justify="left")
    for index, heading in enumerate(result.columns):
        table.add_column(heading, justify="right" if index else "left")
    for row in result.rows:
        table.add_row(*row)
    return table
