"""The line of a run: what it waits for, and how far it is."""

from __future__ import annotations

import io
from dataclasses import replace

import pytest

from detente import methods
from detente.cli.display import with_progress_bar
from detente.cli.terminal import Console
from detente.games.dirac_gan import DiracGAN
from detente.training.loop import train
from detente.training.run import Run


@pytest.mark.parametrize("execution", ["compiled, 1 step a graph, 1 thread", "eager, 1 thread"])
def test_before_the_first_step_it_says_that_the_step_is_compiled(execution: str) -> None:
    run, output = Run(DiracGAN(), methods.simultaneous(), steps=4, record_every=2), io.StringIO()
    ticks = [replace(tick, execution=execution) for tick in train(run)]
    assert list(with_progress_bar(iter(ticks), run, "mine", Console(file=output, width=80))) == ticks
    lines = output.getvalue().splitlines()
    assert lines[:-1] == ["mine: step 0 of 4 compiling the step"] * execution.startswith("compiled")
    assert lines[-1].startswith("mine: step 4 of 4")
