"""What the command line imports before it answers: help, lists and mistakes need no PyTorch."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from detente.cli.entry_point import commands

SLOW = ("torch", "numpy", "scipy", "sympy", "matplotlib", "plotly", "tensorboard", "mlflow", "wandb", "datasets")
COMPILER = ("torch._dynamo", "torch._inductor", "scipy", "matplotlib", "plotly", "mlflow", "wandb")
PROGRAM = """
import sys
from detente.cli import main
status = main(sys.argv[2:])
print(status, *[name for name in sys.argv[1].split() if name in sys.modules])
"""


def imported(*words: str, of: tuple[str, ...] = SLOW, folder: Path | None = None) -> tuple[int, list[str]]:
    """Return the exit status of a command in a new process, and which of some modules it imported."""
    command = [sys.executable, "-c", PROGRAM, " ".join(of), *words]
    run = subprocess.run(command, capture_output=True, encoding="utf-8", check=True, cwd=folder)
    status, *names = run.stdout.splitlines()[-1].split()
    return int(status), names


@pytest.mark.parametrize(
    "words",
    [
        "--help",
        "--version",
        "list",
        "list games",
        "list metrics",
        "reproduce --list",
        "show --game.help",
        "train --game.help ring",
        "train --method.help consensus",
    ],
)
def test_help_and_lists_import_nothing_slow(words: str) -> None:
    assert imported(*words.split()) == (0, [])


@pytest.mark.parametrize("command", commands())
def test_help_and_mistakes_of_every_command_import_nothing_slow(command: str) -> None:
    assert imported(command, "--help") == (0, [])
    assert imported(command, "--bogus", "1") == (2, [])


@pytest.mark.parametrize(
    "words",
    [
        "trian",
        "list gmaes",
        "train --gmae ring",
        "train --game rnig",
        "train --game ring --method consensu",
        "train --game ring --game.widht 3",
        "train --game ring --game.width broad",
        "train --game ring --game.penalties r7",
        "train --game ring --method consensus --method.strength.gama 0.5",
        "train --game ring --steps many",
        "train --game ring",
        "show --game ring --loggers paper",
        "compare --game ring --out there --methods consensus alternatin",
        "compare --game ring --out there --methods consensus:strenght=3",
        "compare --game ring --out there --methods consensus --budget much",
        "data prepare celebs",
        "reproduce numerics_rnig",
        "resume nowhere",
        "evaluate nowhere",
    ],
)
def test_mistakes_are_found_before_anything_slow_is_imported(words: str, tmp_path: Path) -> None:
    assert imported(*words.split(), folder=tmp_path) == (2, [])


def test_a_configuration_file_is_read_before_anything_slow_is_imported(tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_text("game: ring\nmethod: {class_path: consensus, init_args: {strenght: 3}}\n")
    assert imported("train", "--config", "mine.yaml", folder=tmp_path) == (2, [])


def test_eager_steps_import_no_compiler(tmp_path: Path) -> None:
    words = "train --game ring --game.width 4 --game.depth 1 --method alternating --steps 2 --samples 8 --out run"
    assert imported(*words.split(), of=COMPILER, folder=tmp_path) == (0, [])


def test_the_package_imports_nothing_slow() -> None:
    program = f"import sys, detente; assert not [name for name in {SLOW} if name in sys.modules]"
    subprocess.run([sys.executable, "-c", program], check=True)
