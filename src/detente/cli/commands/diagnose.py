"""`detente diagnose`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from rich.table import Table
from rich.text import Text

from detente.cli import configuration
from detente.cli.command_words import Parser
from detente.cli.display import console
from detente.diagnostics.base import GradientStatistics, Spectrum, roundoff
from detente.diagnostics.findings import findings
from detente.diagnostics.gradient_statistics import gradient_statistics
from detente.diagnostics.jacobian_spectrum import jacobian_spectrum, leading_eigenvalues
from detente.diagnostics.step_size_bound import step_size_bound
from detente.errors import InvalidValue
from detente.optimizers.base import Optimizer
from detente.optimizers.sgd import SGD
from detente.state import State
from detente.training.run import Run

RANK = 80
DESCRIPTION = "Describe how stable a trained game is: spectrum, largest stable step, gradient norms and noise."
EXAMPLES = "examples:\n  detente diagnose runs/one\n  detente diagnose runs/one --seed 1"
DENSE = 2500  # largest number of parameters for which the whole spectrum is computed, in about 20 seconds


def main(words: Sequence[str]) -> int:
    """Diagnose the last checkpoint of a run, and return the exit status."""
    parser = Parser("diagnose", DESCRIPTION, EXAMPLES)
    parser.add("run", Path, "run directory; the spectrum is written into it, for the report")
    parser.add("--seed", int, "one of the run's seeds (default: the first)", None)
    parser.add("--batches", int, "batches for the gradients' statistics (default: 16)", 16)
    parser.add("--count", int, "eigenvalues to compute of a game that is too large for all (default: 6)", 6)
    options = parser.parse(words)
    for line in diagnosis(options.run, options.seed, options.batches, options.count):
        console.print(line, soft_wrap=isinstance(line, str))
    return 0


def diagnosis(directory: Path, seed: int | None = None, batches: int = 16, count: int = 6) -> list[Table | str]:
    """Return a table and sentences about the last checkpoint of a run, and write its spectrum to the directory."""
    run, trained = configuration.trained(directory, seed)
    if trained.diverged_at is not None:
        run_seed = f"{directory}, seed {trained.seed}, which diverged at step {trained.diverged_at}"
        raise InvalidValue("run", run_seed, "a training that has not diverged")
    generator = torch.Generator().manual_seed(trained.seed)
    with console.status(Text(f"{directory.name}: gradients of {batches} batches")):
        statistics = gradient_statistics(run.game, trained.state, generator, batches)
    with console.status(Text(f"{directory.name}: eigenvalues of the Jacobian (up to half a minute)")):
        spectrum = _spectrum(run, trained.state, generator, count)
    _write(directory, trained.seed, trained.step, spectrum)
    rate, adaptive = _rate(run)
    bound = step_size_bound(spectrum.used, neutral=roundoff(spectrum.used))
    return [
        _table(f"{directory}, seed {trained.seed}, step {trained.step}", statistics),
        f"Largest h with |1 − hλ| < 1 for all eigenvalues but those that are zero (eq. 10): {bound:.3g}",
        *(f"• {sentence}" for sentence in findings(spectrum, statistics, rate, adaptive)),
    ]


def _spectrum(run: Run, state: State, generator: torch.Generator, count: int) -> Spectrum:
    """Return the whole spectrum of a small game, the largest and least stable eigenvalues of a large one."""
    drawn = {name: tensor.to(state.t.device) for name, tensor in run.game.draw(generator).items()}
    batch = run.game.with_step(drawn, state.t)
    size = sum(vector.numel() for vector in state.vectors.values())
    if size <= DENSE:
        return jacobian_spectrum(run.game, state, batch, run.method)
    large, unstable = (leading_eigenvalues(run.game, state, batch, count, which) for which in ("LM", "SR"))
    return Spectrum(torch.cat([large.eigenvalues, unstable.eigenvalues]), None, size)


def _rate(run: Run) -> tuple[float | None, bool]:
    """Return the learning rate if it is one number, and whether an optimizer rescales the field."""
    optimizers: list[Optimizer] = list(run.method.optimizers(run.game.players).values())
    rates = {getattr(optimizer, "learning_rate", None) for optimizer in optimizers}
    rate = rates.pop() if len(rates) == 1 else None
    return (rate if isinstance(rate, float) else None), not all(isinstance(optimizer, SGD) for optimizer in optimizers)


def _write(directory: Path, seed: int, step: int, spectrum: Spectrum) -> None:
    arrays = {"eigenvalues": spectrum.eigenvalues.numpy()}
    if spectrum.regularised is not None:
        arrays["regularised"] = spectrum.regularised.numpy()
    (directory / "spectra").mkdir(exist_ok=True)
    np.savez_compressed(directory / "spectra" / f"seed{seed}-step{step:08d}.npz", allow_pickle=False, **arrays)


def _table(title: str, statistics: dict[str, GradientStatistics]) -> Table:
    table = Table(title=title, title_justify="left")
    for heading in ("player", "gradient norm", "variance", "signal/noise", "noise scale (samples)"):
        table.add_column(heading, justify="left" if heading == "player" else "right")
    for player, values in statistics.items():
        numbers = (values.norm, values.variance, values.signal_to_noise, values.noise_scale)
        table.add_row(player, *(f"{number:.3g}" for number in numbers))
    return table
