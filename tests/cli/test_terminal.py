"""Output in any encoding and into any pipe; text of users is printed literally; paths in hints can be pasted."""

from __future__ import annotations

import io
import os
import shlex
import subprocess
import sys
import warnings
from collections.abc import Sequence
from pathlib import Path

import pytest
import yaml
from rich.progress import Progress, TextColumn
from rich.table import Table

from detente.cli.entry_point import main
from detente.cli.terminal import Console, quoted, readable, streams

TRAIN = (
    "train --game ring --method simultaneous --compile off --steps 2 --samples 16 --game.width 4 --game.batch 8".split()
)


def detente(words: Sequence[str], folder: Path, **settings: str) -> subprocess.CompletedProcess:
    command = [sys.executable, "-m", "detente", *words]
    return subprocess.run(command, cwd=folder, capture_output=True, env={**os.environ, **settings})


@pytest.mark.parametrize(
    ("text", "encoding", "expected"),
    [
        ("a ↑ b — c", "ascii", "a ^ b - c"),
        ("γ = é ′", "ascii", "gamma = e '"),
        ("γ — é ↓", "cp1252", "gamma — é v"),
        ("日 \udcff", "ascii", "? ?"),
        ("γ — é 日 ↓", "utf-8", "γ — é 日 ↓"),
    ],
)
def test_what_cannot_be_encoded_is_replaced_by_what_can_be_read(text: str, encoding: str, expected: str) -> None:
    assert readable(text, encoding) == expected


@pytest.mark.parametrize("encoding", ["ascii", "cp1252", "cp437"])
def test_no_command_fails_for_the_encoding_of_the_terminal(encoding: str, tmp_path: Path) -> None:
    assert main([*TRAIN, "--out", str(tmp_path / "run")]) == 0
    for words in ("list methods", "report run --out page.html", "diagnose run --batches 2", "train --help"):
        done = detente(words.split(), tmp_path, PYTHONIOENCODING=encoding)
        assert (done.returncode, done.stderr) == (0, b"") and done.stdout.decode(encoding)
    done = detente(["train", "--game", "rin\u2191", "--out", "x"], tmp_path, PYTHONIOENCODING=encoding)
    assert done.returncode == 2 and b"rin^" in done.stderr


def test_what_is_shown_in_ascii_is_read_again_as_it_was(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    stream = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    monkeypatch.setattr(sys, "stdout", stream)
    words = ["show", "--game", "adversarial", "--game.generator", "mlp", "--game.discriminator", "mlp"]
    for player in ("generator", "discriminator"):
        words += [f"--game.{player}.inputs", "2", f"--game.{player}.outputs", "2"]
        words += [f"--game.{player}.width", "4", f"--game.{player}.depth", "1"]
    (tmp_path / "é").mkdir()
    monkeypatch.setattr("detente.cli.configuration.build", lambda *_: None)
    assert main([*words, "--game.data", str(tmp_path / "é")]) == 0
    shown = yaml.safe_load(stream.buffer.getvalue().decode("ascii"))  # type: ignore[attr-defined]
    assert shown["game"]["init_args"]["data"] == str(tmp_path / "é")


def test_markup_and_emoji_codes_of_names_are_printed_as_they_stand() -> None:
    name, out = "[bold]ring[/x][bs=64]:fire:", io.StringIO()
    console = Console(file=out, width=100)
    table = Table(title=name)
    table.add_column(name)
    table.add_row(name)
    console.print(name)
    console.print(table)
    assert out.getvalue().count(name) == 4
    with Progress(TextColumn("{task.description}", markup=False), console=console) as progress:
        progress.add_task(name, total=1)
    assert out.getvalue().count(name) >= 5


def test_a_run_named_with_brackets_and_spaces_has_a_hint_that_can_be_pasted(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = tmp_path / "my [bs=64] [/x]"
    assert main([*TRAIN, "--out", str(run)]) == 0
    hint = next(line for line in capsys.readouterr().out.splitlines() if "Look at it: " in line)
    assert shlex.split(hint.partition("detente report ")[2])[0] == str(run)
    assert quoted("-x y") == "'./-x y'"


@pytest.mark.parametrize("words", [["list"], ["show", "--game", "ring"], [*TRAIN, "--out", "run"]])
def test_a_reader_that_stops_is_no_failure_and_loses_no_run(words: list[str], tmp_path: Path) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    command = [sys.executable, "-m", "detente", *words]
    done = subprocess.run(command, cwd=tmp_path, stdout=writing, stderr=subprocess.PIPE)
    os.close(writing)
    assert (done.returncode, done.stderr) == (0, b"")
    assert "--out" not in words or '"finished"' in (tmp_path / "run" / "status.json").read_text(encoding="utf-8")


def test_a_warning_is_one_line_without_source(tmp_path: Path) -> None:
    code = "import warnings\nfrom detente.cli import terminal\nwith terminal.streams():\n    warnings.warn('a\\nb')"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=tmp_path)
    assert done.stderr == "detente: warning: a b\n"


def test_streams_are_left_as_they_were(monkeypatch: pytest.MonkeyPatch) -> None:
    stream, shown = io.TextIOWrapper(io.BytesIO(), encoding="ascii"), warnings.showwarning
    monkeypatch.setattr(sys, "stdout", stream)
    with streams():
        print("↑")
    assert stream.errors == "strict" and warnings.showwarning is shown


@pytest.mark.parametrize("width", [1, 20])
def test_narrow_terminals_do_not_break_tables(width: int, tmp_path: Path) -> None:
    assert main([*TRAIN, "--out", str(tmp_path / "run")]) == 0
    for words in ("report run --out page.html", "list methods", "train --help"):
        done = detente(words.split(), tmp_path, COLUMNS=str(width), TERM="dumb", NO_COLOR="1")
        assert (done.returncode, done.stderr) == (0, b"")
