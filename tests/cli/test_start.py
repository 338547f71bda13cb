"""What the command line imports before it answers: help, lists and mistakes need no PyTorch."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from detente.cli.entry_point import commands

SLOW = ("torch", "numpy", "scipy", "sympy", "matplotlib", "plotly", "tensorboard", "mlflow", "wandb", "datasets")
COMPILER = ("torch._dynamo", "torch._inductor", "scipy", "matplotlib", "plotly", "mlflow", "wandb")
PROGRAM = """
import contextlib, io, json, sys
from detente.cli import main
answers = {}
for line in sys.argv[2:]:
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        status = main(line.split())
    answers[line] = [status, *[name for name in sys.argv[1].split() if name in sys.modules]]
print(json.dumps(answers))
"""
ANSWERS = [
    "--help",
    "--version",
    "list",
    "list games",
    "list methods",
    "list metrics",
    "reproduce --list",
    "show --game.help",
    "train --game.help ring",
    "train --method.help consensus",
]
MISTAKES = [
    "trian",
    "list gmaes",
    "train --gmae ring",
    "train --game rnig",
    "train --game ring --method consensu",
    "train --game ring --game.widht 3",
    "train --game ring --game.width broad",
    "train --game ring --game.penalties r7",
    "train --game ring --game.penalties r1 --game.penalties.gama 3",
    "train --game ring --method consensus --method.optimizer adma",
    "train --game ring --steps many",
    "train --game ring",
    "train --config mine.yaml",
    "show --game ring --loggers paper",
    "compare --game ring --out there --methods consensus alternatin",
    "compare --game ring --out there --methods consensus:strenght=3",
    "compare --game ring --out there --methods consensus --budget much",
    "compare --game ring --out there --methods consensus --executor process",
    "compare --game ring --out there --methods consensus --executor processes --workers 0",
    "search --game ring --out there --method consensus",
    "search --game ring --out there --method consensus --over strength=log:1",
    "search --game ring --out there --method consensus --over strenght=1:2",
    "data prepare celebs",
    "reproduce numerics_rnig",
    "resume nowhere",
    "evaluate nowhere",
]


def imported(lines: list[str], folder: Path, of: tuple[str, ...] = SLOW) -> dict[str, list[int | str]]:
    """Return by command line its exit status, and those of some modules that are imported after it, in one process."""
    command = [sys.executable, "-c", PROGRAM, " ".join(of), *lines]
    run = subprocess.run(command, capture_output=True, encoding="utf-8", check=True, cwd=folder)
    return json.loads(run.stdout)


def test_help_and_lists_import_nothing_slow(tmp_path: Path) -> None:
    lines = [*ANSWERS, *(f"{command} --help" for command in commands())]
    assert imported(lines, tmp_path) == {line: [0] for line in lines}


def test_mistakes_are_found_before_anything_slow_is_imported(tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_text("game: ring\nmethod: {class_path: consensus, init_args: {strenght: 3}}\n")
    lines = [*MISTAKES, *(f"{command} --bogus 1" for command in commands())]
    assert imported(lines, tmp_path) == {line: [2] for line in lines}


def test_eager_steps_import_no_compiler(tmp_path: Path) -> None:
    line = "train --game ring --game.width 4 --game.depth 1 --method alternating --steps 2 --samples 8 --out run"
    assert imported([line], tmp_path, COMPILER) == {line: [0]}


def test_the_package_imports_nothing_slow() -> None:
    program = f"import sys, detente; assert not [name for name in {SLOW} if name in sys.modules]"
    subprocess.run([sys.executable, "-c", program], check=True)
