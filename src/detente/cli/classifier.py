"""`detente data classifier`."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from detente.cli.command_words import Parser
from detente.cli.display import console
from detente.metrics.features import classifier
from detente.metrics.features.classifier_training import names, train

DESCRIPTION = "Train the small network that scores generated samples of a data set, and keep it in the cache."
EXAMPLES = """\
examples:
  detente data classifier digits
  detente data classifier fashion_mnist --seed 1 --overwrite

The metrics that need a classifier are measured along every training on that set once it is there.
"""
SPOKEN = 10.0  # seconds between lines where there is no terminal


def main(words: Sequence[str]) -> int:
    """Train the classifier, say how good it is, and return the exit status."""
    parser = Parser("data classifier", DESCRIPTION, EXAMPLES)
    parser.add("name", str, f"name of the data set: {', '.join(names())}")
    parser.add("--seed", int, "seed of its training (default: 0)", 0)
    parser.add("--overwrite", bool, "train it again if it exists", False)
    options = parser.parse(words)
    if classifier.exists(options.name) and not options.overwrite:
        found = classifier.load(options.name)
        console.print(f"{sentence(found)} (there already; --overwrite trains it anew)", soft_wrap=True)
        return 0
    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(bar_width=24),
        TextColumn("{task.percentage:.0f} %"),
    )
    more = TextColumn("loss {task.fields[loss]:.3f}"), TimeRemainingColumn()
    with Progress(*columns, *more, console=console, disable=not console.is_terminal) as progress:
        found = train(options.name, options.seed, told=_shown(progress, options.name))
    console.print(sentence(found), soft_wrap=True)
    return 0


def _shown(progress: Progress, name: str) -> Callable[[float, float], None]:
    """Return what shows how far a training is: a bar, or without a terminal a line every ten seconds."""
    task, spoken = progress.add_task(name, total=1.0, loss=float("nan")), time.monotonic()

    def tell(share: float, loss: float) -> None:
        nonlocal spoken
        progress.update(task, completed=share, loss=loss)
        if not console.is_terminal and time.monotonic() - spoken > SPOKEN:
            spoken = time.monotonic()
            console.print(f"{name}: {100 * share:.0f} %, loss {loss:.3f}", soft_wrap=True)

    return tell


def sentence(found: classifier.Classifier) -> str:
    """Return in a line how good a classifier is, and on what it was trained."""
    stated = found.stated
    return (
        f"{stated.name}: {100 * found.accuracy:.2f} % of {stated.held_out:,} held-out images are classified rightly,"
        f" after {stated.epochs} epochs on {stated.trained_on:,} (seed {stated.seed})"
    )
