"""Warnings when a GAN is built in Python, on the command line, and how to turn them off."""

from __future__ import annotations

import warnings
from pathlib import Path

import pytest
import torch
import yaml
from torch import nn

from detente import Adversarial
from detente.checks import off
from detente.cli import main
from detente.games.presets.points import ring

PLANE = torch.randn(500, 2, generator=torch.Generator().manual_seed(0))


def far(data: torch.Tensor = 400 + PLANE) -> Adversarial:
    return Adversarial(lambda: nn.Linear(4, 2), lambda: nn.Linear(2, 1), data, latent=4)


def test_a_broken_game_warns_at_the_line_that_builds_it() -> None:
    with pytest.warns(UserWarning, match="data scale: The data's mean, 400") as caught:
        far()
    assert Path(caught[0].filename) == Path(__file__)


def test_a_healthy_game_and_a_small_one_do_not_warn() -> None:
    far(PLANE)
    far(PLANE[:70])
    ring()


def test_warnings_can_be_turned_off(monkeypatch: pytest.MonkeyPatch) -> None:
    with off():
        far()
    monkeypatch.setenv("DETENTE_CHECKS", "off")
    far()


def test_construction_leaves_random_numbers_alone() -> None:
    before = torch.get_rng_state()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        far()
    assert torch.equal(before, torch.get_rng_state())


RATES = ["--method.learning_rate", "0.1"]


@pytest.mark.parametrize(("words", "warned"), [([], True), (["--no-checks"], False)])
def test_train_warns_before_training(
    words: list[str], warned: bool, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    call = [
        "train",
        "--game",
        "ring",
        "--steps",
        "1",
        "--compile",
        "off",
        "--out",
        str(tmp_path / "run"),
        *RATES,
        *words,
    ]
    assert main(call) == 0
    lines = [line for line in capsys.readouterr().err.splitlines() if line.startswith("warning: ")]
    assert len(lines) == warned
    assert all("blow-up: A learning rate of 0.1" in line and "--no-checks" in line for line in lines)
    recorded = yaml.safe_load((tmp_path / "run" / "run.yaml").read_text(encoding="utf-8"))
    assert not [key for key in recorded if "checks" in key]


def test_compare_names_the_method(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    call = ["compare", "--game", "ring", "--methods", "alternating:learning_rate=0.1", "simultaneous", "--seeds", "0"]
    call += ["--steps", "1", "--compile", "off"]
    assert main([*call, "--out", str(tmp_path / "warned")]) == 0
    lines = [line for line in capsys.readouterr().err.splitlines() if line.startswith("warning: ")]
    assert len(lines) == 1
    assert "alternating" in lines[0]
    assert main([*call, "--no-checks", "--out", str(tmp_path / "silent")]) == 0
    assert "warning: " not in capsys.readouterr().err
