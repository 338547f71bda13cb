"""A run whose game was built in Python is resumed from Python; the commands refuse it and say so."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import detente
from detente import cli, methods
from detente.cli.commands import train
from detente.games.quadratic import Bilinear
from detente.training import loop
from detente.training.loop import Tick
from detente.training.run import Run
from detente.training.run_directory import record
from detente.training.run_directory.description import built_in_python, description
from tests.training.small_runs import lines

SMALL: dict[str, Any] = {"steps": 4, "seeds": (0,), "record_every": 1, "compile": "off"}


def stopping(ticks: Iterator[Tick], *arguments: Any) -> Iterator[Tick]:
    for tick in ticks:
        if tick.step == 2:
            raise KeyboardInterrupt
        yield tick


def test_an_interrupted_comparison_is_continued_by_the_same_call(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    chosen = {"plain": methods.simultaneous("sgd", 0.1)}
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(record, "train", lambda *arguments, **options: stopping(loop.train(*arguments, **options)))
        detente.compare(Bilinear(), chosen, tmp_path / "mine", **SMALL)
    assert capsys.readouterr() == ("", ""), "compare prints nothing"
    assert [line["step"] for line in lines(tmp_path / "mine" / "plain")] == [0, 1]

    for command in ("resume", "sample", "diagnose"):
        assert cli.main([command, str(tmp_path / "mine" / "plain")]) == 2
        err = capsys.readouterr().err
        assert err.count("\n") == 1 and err.startswith("detente: run: got")
        assert "a directory that `detente train` wrote" in err and "the same call continues it" in err

    detente.compare(Bilinear(), chosen, tmp_path / "mine", **SMALL)
    assert [line["step"] for line in lines(tmp_path / "mine" / "plain")] == [0, 1, 2, 3, 4]


def test_an_interrupted_training_at_the_command_line_is_resumed_there(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(train, "with_progress_bar", stopping)
        words = ["train", "--game", "bilinear", "--steps", "4", "--record_every", "1", "--out", str(tmp_path / "one")]
        assert cli.main(words) == 130
    assert f"Continue with: detente resume {tmp_path / 'one'}" in capsys.readouterr().out
    assert cli.main(["resume", str(tmp_path / "one")]) == 0


def test_runs_built_in_python_are_recognised() -> None:
    assert built_in_python(description(Run(Bilinear(), methods.simultaneous())))
    assert built_in_python({"game": repr(Bilinear())})
    for words in ("ring", "mine.games.Own", {"class_path": "detente.games.presets.points.ring"}):
        assert not built_in_python({"game": words})
    assert not built_in_python({})
