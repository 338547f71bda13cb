"""What the command line imports before it answers: help, lists and mistakes need no PyTorch."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from detente.cli.entry_point import commands, main

SLOW = ("torch", "numpy", "scipy", "sympy", "matplotlib", "plotly", "tensorboard", "mlflow", "wandb", "datasets")
COMPILER = ("torch._dynamo", "torch._inductor", "scipy", "matplotlib", "plotly", "mlflow", "wandb")
PROGRAM = """
import contextlib, io, json, sys
from detente.cli import main
answers = {}
for line in sys.argv[2:]:
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()) as said:
        status = main(line.split())
    answers[line] = [status, said.getvalue(), *[name for name in sys.argv[1].split() if name in sys.modules]]
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
    "data list",
    "show --game ring",
    "show --game digits --method sgan --device cuda",
    "show --game ring --method.learning_rate cosine(1e-3,0)",
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

VALUES = [  # mistakes that constructors find, and commands in run directories
    "show --game ring --method consensus --method.learning_rate -1",
    "show --game ring --method consensus --method.strength -1",
    "show --game ring --method alternating --method.betas [2,3]",
    "show --game ring --method alternating --method.optimizer adma",
    "show --game ring --method alternating --method.learning_rate cosine(1e-3,0,-3)",
    "show --game ring --game.batch 0",
    "show --game ring --game.width 0",
    "show --game ring --game.objective hinje",
    "show --game ring --game.penalties r1 --game.penalties.strength -1",
    "train --game ring --out there --steps 0",
    "train --game ring --out there --seeds 1 1",
    "train --game ring --out there --threads 0",
    "train --game ring --out there --stop_when x",
    "train --game ring --out there --metrics fidd",
    "train --game digits --out there --game.filter gaussian_smoothing --game.filter.strength -1",
    "train --game ring --out run",
    "train --game ring --out run --resume",
    "train --config wrong.yaml --out there",
    "compare --game ring --out there --methods alternating consensus:strength=-1",
    "search --game ring --out there --method consensus --over strength=-3:-1",
    "sample nowhere",
    "sample run --seed 7",
    "sample run --step 99",
    "export run --to there --step 99",
    "diagnose run --seed 7",
    "evaluate run --metrics fidd",
    "evaluate run --step 99",
]
BUILD = """
import sys
from detente.cli import configuration, rehearsal
from detente.errors import InvalidValue
from detente.registry import choices
parsed = []
for words in [*([name] for name in choices("games")), *(["ring", "--method", name] for name in choices("methods"))]:
    parser = configuration.parser("show", "")
    try:
        parsed.append(configuration.parse(parser, ["--game", *words]))
    except InvalidValue as error:
        assert "It is required" in str(error)
def build():
    for options in parsed:
        configuration.build(options)
rehearsal.rehearse(build)
assert len(parsed) > 50 and "torch" not in sys.modules
"""
COPY = """
import os, sys
from pathlib import Path
from detente.cli.rehearsal import Mistake, rehearse
from detente.errors import InvalidValue, require
def raises(*errors):
    def action():
        cause = None
        for error in errors:
            error.__cause__, cause = cause, error
        raise cause
    return action
def after(use):
    def action():
        import torch
        use(torch)
        raise InvalidValue("reached", 1, "nothing")
    return action
def told(action):
    try:
        rehearse(action)
    except Mistake as mistake:
        return str(mistake.error)
wrong = InvalidValue("a", 1, "2")
assert told(raises(wrong)) == str(wrong) == told(raises(InvalidValue("b", 0, "1"), wrong))
assert told(raises(TypeError(), wrong)) is None and told(raises(TypeError())) is None
for change in (lambda t: Path("new").write_text(""), lambda t: os.mkdir("new"), lambda t: os.remove("kept")):
    assert told(after(change)) is None
reached = str(InvalidValue("reached", 1, "nothing"))
for unknown in (bool, int, len, list, str, lambda x: x == 0, lambda x: x < 0, lambda x: isinstance(x, int)):
    assert told(after(lambda t: unknown(t.zeros(3).sum() + 1))) is None, unknown
for known in (lambda t: t.nn.Linear(2, 3)(t.zeros(2)) * 2, lambda t: require(not isinstance(3, t.Tensor), "x", 3, "")):
    assert told(after(known)) == reached
assert os.listdir() == ["kept"] and "torch" not in sys.modules
"""


def answers(lines: list[str], folder: Path, of: tuple[str, ...] = SLOW) -> dict[str, list[int | str]]:
    """Return by command line its exit status, its error, and those of some modules that are imported after it.

    One process runs all of them.
    """
    command = [sys.executable, "-c", PROGRAM, " ".join(of), *lines]
    run = subprocess.run(command, capture_output=True, encoding="utf-8", check=True, cwd=folder)
    return json.loads(run.stdout)


def imported(lines: list[str], folder: Path, of: tuple[str, ...] = SLOW) -> dict[str, list[int | str]]:
    """Return by command line its exit status, and those of some modules that are imported after it."""
    return {line: [status, *modules] for line, (status, _, *modules) in answers(lines, folder, of).items()}


def test_help_and_lists_import_nothing_slow(tmp_path: Path) -> None:
    lines = [*ANSWERS, *(f"{command} --help" for command in commands())]
    assert imported(lines, tmp_path) == {line: [0] for line in lines}


def test_mistakes_are_found_before_anything_slow_is_imported(tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_text("game: ring\nmethod: {class_path: consensus, init_args: {strenght: 3}}\n")
    lines = [*MISTAKES, *(f"{command} --bogus 1" for command in commands())]
    assert imported(lines, tmp_path) == {line: [2] for line in lines}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with a run, and with the options of one whose method has a wrong value."""
    folder = tmp_path_factory.mktemp("start")
    size = "--game.width 4 --game.depth 1 --steps 2 --samples 8 --compile off".split()
    assert main(["train", "--game", "ring", *size, "--out", str(folder / "run")]) == 0
    (folder / "wrong.yaml").write_text("game: ring\nmethod: {class_path: consensus, init_args: {strength: -3}}\n")
    return folder


def test_mistakes_in_values_are_found_before_anything_slow_is_imported(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    found = answers(VALUES, folder)
    assert {line: [status, *modules] for line, (status, _, *modules) in found.items()} == {line: [2] for line in VALUES}
    monkeypatch.chdir(folder)
    for line in VALUES:  # with PyTorch, which this process has imported, the errors are the same
        assert main(line.split()) == 2
        assert capsys.readouterr().err == found[line][1], line
    assert not (folder / "there").exists()


def test_rehearsals_find_no_mistake_in_the_defaults(tmp_path: Path) -> None:
    subprocess.run([sys.executable, "-c", BUILD], check=True, cwd=tmp_path)


def test_a_rehearsal_changes_nothing_and_tells_what_is_certain(tmp_path: Path) -> None:
    (tmp_path / "kept").touch()
    subprocess.run([sys.executable, "-c", COPY], check=True, cwd=tmp_path)


def test_eager_steps_import_no_compiler(tmp_path: Path) -> None:
    line = "train --game ring --game.width 4 --game.depth 1 --method alternating --steps 2 --samples 8 --out run"
    assert imported([line], tmp_path, COMPILER) == {line: [0]}


def test_the_package_imports_nothing_slow() -> None:
    program = f"import sys, detente; assert not [name for name in {SLOW} if name in sys.modules]"
    subprocess.run([sys.executable, "-c", program], check=True)


def test_runs_of_a_users_own_game_are_read_by_a_new_process(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The copy meets the user's module after PyTorch's placeholder, and must not take it for another kind."""
    (tmp_path / "games_at_home.py").write_text("from detente.games.presets import ring as game\n")
    monkeypatch.chdir(tmp_path)
    size = "--game.width 4 --game.depth 1 --steps 1 --samples 8 --compile off".split()
    assert main(["train", "--game", "games_at_home.game", *size, "--out", "run"]) == 0
    line = "resume run --steps 2"
    assert answers([line], tmp_path)[line][0] == 0
