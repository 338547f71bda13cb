"""`detente rescue`: a set-up or a run, findings instead of tracebacks, one line for mistakes."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path

import pytest
import torch

from detente.cli import entry_point

MODULE = """
from torch import nn


class Generator(nn.Sequential):
    def __init__(self):
        super().__init__(nn.Linear(2, 16), nn.ReLU(), nn.Linear(16, 2))


class Discriminator(nn.Sequential):
    def __init__(self):
        super().__init__(nn.Linear(2, 16), nn.ReLU(), nn.Linear(16, 1))


class Probability(nn.Sequential):
    def __init__(self):
        super().__init__(nn.Linear(2, 16), nn.ReLU(), nn.Linear(16, 1), nn.Sigmoid())


class Broken(nn.Sequential):
    def __init__(self):
        super().__init__(nn.Linear(3, 16), nn.ReLU(), nn.Linear(16, 1))
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working directory with a user's networks and data."""
    (tmp_path / "rescued_nets.py").write_text(MODULE, encoding="utf-8")
    points = torch.randn(600, 2, generator=torch.Generator().manual_seed(0))
    torch.save(points, tmp_path / "points.pt")
    import numpy as np

    np.save(tmp_path / "points.npy", 500 + points.numpy())
    np.save(tmp_path / "near.npy", points.numpy())
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, "rescued_nets", raising=False)
    return tmp_path


def options(discriminator: str, data: str = "near.npy", steps: int = 60) -> list[str]:
    text = f"""--game adversarial --game.generator rescued_nets.Generator
        --game.discriminator rescued_nets.{discriminator} --game.data {data} --game.latent 2
        --game.batch 32 --method alternating --method.learning_rate 1e-3 --steps {steps}"""
    return shlex.split(text)


def test_a_scale_is_cured_and_the_printed_line_trains(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert entry_point.main(["rescue", *options("Discriminator", "points.npy", 120), "--out", "runs/rescued"]) == 0
    text = capsys.readouterr().out
    assert text.index("Found") < text.index("data scale") < text.index("Tried") < text.index("--game.rescale true")
    (line,) = [line for line in text.splitlines() if line.strip().startswith("detente train")]
    words = shlex.split(line)[1:]
    assert (
        entry_point.main([*words[: words.index("--steps")], "--steps", "5", *words[words.index("--steps") + 2 :]]) == 0
    )
    assert (folder / "runs" / "rescued" / "report.html").exists()
    assert entry_point.main(["rescue", *options("Discriminator", "points.npy", 120), "--out", "runs/rescued"]) == 0


def test_the_run_that_went_wrong(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert (
        entry_point.main(["train", *options("Discriminator", "points.npy"), "--out", "runs/mine", "--no-checks"]) == 0
    )
    assert entry_point.main(["rescue", "runs/mine"]) == 0
    assert (folder / "runs" / "mine-rescued" / "report.html").exists()
    assert "data scale" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("discriminator", "words"), [("Broken", ["wiring", "discriminator", "mat1 and mat2"]), ("Probability", ["sigmoid"])]
)
def test_refused_networks_are_findings(
    folder: Path, capsys: pytest.CaptureFixture[str], discriminator: str, words: list[str]
) -> None:
    assert entry_point.main(["rescue", *options(discriminator), "--out", str(folder / "rescued")]) == 0
    text = capsys.readouterr().out
    assert "Found" in text
    assert all(word in text for word in words)


@pytest.mark.parametrize(
    ("words", "field"),
    [
        (["rescue", *options("Discriminator")], "out"),
        (["rescue", *options("Discriminator"), "--out", "x", "--budget", "much"], "budget"),
        (["rescue", *options("Discriminator"), "--out", "x", "--game.batch", "-3"], "game.batch"),
        (["rescue", "runs/nothing", "--out", "x"], "run"),
        (["rescue", "--game", "bilinear", "--out", "x"], "game"),
    ],
)
def test_mistakes_are_one_line(folder: Path, capsys: pytest.CaptureFixture[str], words: list[str], field: str) -> None:
    assert entry_point.main(words) == 2
    error = capsys.readouterr().err
    assert len(error.splitlines()) == 1
    assert error.startswith(f"detente: {field}")
