"""`detente data classifier`."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from detente.cli.command_words import Parser
from detente.cli.display import console
from detente.metrics.features import classifier
from detente.metrics.features.classifier_training import names, train

DESCRIPTION = "Train the small network that scores generated samples of a data set, and store it in the cache."
EXAMPLES = """\
examples:
  detente data classifier digits
  detente data classifier fashion_mnist --seed 1 --overwrite

Once it exists, every training on that set also measures the metrics that need a classifier.
"""
INTERVAL = 10.0  # seconds between lines without a terminal


def main(words: Sequence[str]) -> int:
    """Train the classifier, print its accuracy, and return the exit status."""
    parser = Parser("data classifier", DESCRIPTION, EXAMPLES)
    parser.add("name", str, f"name of the data set: {', '.join(names())}")
    parser.add("--seed", int, "seed of its training (default: 0)", 0)
    parser.add("--overwrite", bool, "train it again if it exists", False)
    options = parser.parse(words)
    if classifier.exists(options.name) and not options.overwrite:
        trained = classifier.load(options.name)
        console.print(f"{sentence(trained)} (already trained; --overwrite trains it again)", soft_wrap=True)
        return 0
    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(bar_width=24),
        TextColumn("{task.percentage:.0f} %"),
    )
    more = TextColumn("loss {task.fields[loss]:.3f}"), TimeRemainingColumn()
    with Progress(*columns, *more, console=console, disable=not console.is_terminal) as progress:
        trained = train(options.name, options.seed, on_progress=_updates(progress, options.name))
    console.print(sentence(trained), soft_wrap=True)
    return 0


def _updates(progress: Progress, name: str) -> Callable[[float, float], None]:
    """Return a function that shows a training's progress: a bar, or without a terminal a line every ten seconds."""
    task, last_print = progress.add_task(name, total=1.0, loss=float("nan")), time.monotonic()

    def update(share: float, loss: float) -> None:
        nonlocal last_print
        progress.update(task, completed=share, loss=loss)
        if not console.is_terminal and time.monotonic() - last_print > INTERVAL:
            last_print = time.monotonic()
            console.print(f"{name}: {100 * share:.0f} %, loss {loss:.3f}", soft_wrap=True)

    return update


def sentence(trained: classifier.Classifier) -> str:
    """Return a classifier's accuracy and training in one line."""
    stated = trained.card
    return (
        f"{stated.name}: {100 * trained.accuracy:.2f} % of {stated.held_out:,} held-out images are classified "
        f"correctly, after {stated.epochs} epochs on {stated.trained_on:,} (seed {stated.seed})"
    )
