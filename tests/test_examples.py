"""Every file of examples/ runs, in a small size, without a warning, and prints the expected lines."""

from __future__ import annotations

import json
import re
import runpy
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from benchmarks.games_by_hand import LOOPS as GAMES
from detente import cli

EXAMPLES = Path(__file__).parents[1] / "examples"


def ran(name: str, capsys: pytest.CaptureFixture[str], **sizes: Any) -> tuple[dict[str, Any], list[str]]:
    """Return what a file defines, and the lines that its `main` printed."""
    defined = runpy.run_path(str(EXAMPLES / f"{name}.py"))
    defined["main"](**sizes)
    return defined, capsys.readouterr().out.splitlines()


def numbers(line: str) -> list[float]:
    return [float(number) for number in re.findall(r"(?<![\w.])-?\d+(?:\.\d+)?", line)]


def test_every_example_is_tested() -> None:
    on_users_code = {"own_networks", "own_loop", "own_method", "own_data"}
    assert {path.stem for path in EXAMPLES.glob("*.py")} == on_users_code | set(GAMES)  # the games: tests/examples/


def test_own_networks(capsys: pytest.CaptureFixture[str]) -> None:
    """Losses at each of the quarters, four pictures of 8 lines, and modules that are the user's own class."""
    _, lines = ran("own_networks", capsys, steps=4)
    assert [line.partition(":")[0] for line in lines[:4]] == [f"step {step:4d}" for step in (1, 2, 3, 4)]
    picture = lines[4:12]
    assert {len(line) for line in picture} == {4 * 16 + 3 * 2} and len(set("".join(picture))) > 3
    assert lines[12].startswith("Generator with 4,641 parameters")


def test_own_loop(capsys: pytest.CaptureFixture[str]) -> None:
    """Resuming from a file is exact, and the averaged generator comes near the data."""
    _, lines = ran("own_loop", capsys, epochs=1)
    assert lines[0].startswith("epoch 1:") and lines[0].endswith("4 gradients a step")
    assert lines[1] == "went on from a file, bit for bit: True"
    (distance,) = numbers(lines[2])
    assert 0 < distance < 1


def test_own_method(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """Each method takes the steps that the budget pays for, and all are compared with the first."""
    _, lines = ran("own_method", capsys, budget="18grads", seeds=2, out=str(tmp_path / "mine"))
    costs = {}
    for name in ("simultaneous", "consensus", "yours"):
        *_, last = (tmp_path / "mine" / name / "metrics.jsonl").read_text("utf-8").splitlines()
        costs[name] = [json.loads(last)[key] for key in ("seed", "step", "gradient_evaluations")]
    assert costs == {"simultaneous": [1, 9, 18], "consensus": [1, 4, 16], "yours": [1, 3, 18]}
    assert lines == [f"The page: {tmp_path / 'mine' / 'report.html'}"]
    page = (tmp_path / "mine" / "report.html").read_text("utf-8")
    assert "yours: " in page and "from simultaneous: " in page


def test_own_method_joins_a_comparison_by_its_import_path(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With settings, and with a learning rate that a sweep reaches."""
    monkeypatch.chdir(EXAMPLES)
    monkeypatch.delitem(sys.modules, "own_method", raising=False)
    ring = "--game ring --game.width 4 --game.depth 1 --game.batch 4 --samples 8 --compile off"
    chosen = "alternating own_method.jare own_method.jare:strength=3"
    line = f"compare {ring} --methods {chosen} --seeds 0 1 --budget 12grads --tune 1e-3 3e-3 --out {tmp_path}/mine"
    assert cli.main(line.split()) == 0, capsys.readouterr().err
    runs = {path.name: path for path in (tmp_path / "mine").iterdir() if path.is_dir()}
    assert runs.keys() == {"alternating", "own_method.jare", "own_method.jare-strength=3"}
    configuration = yaml.safe_load((runs["own_method.jare-strength=3"] / "run.yaml").read_text("utf-8"))
    assert configuration["method"]["class_path"] == "own_method.jare" and configuration["steps"] == 2
    assert configuration["method"]["init_args"]["strength"] == 3
    assert configuration["method"]["init_args"]["learning_rate"] in (1e-3, 3e-3)
    sys.modules.pop("own_method", None)


def test_field_of_own_method_is_the_gradient_of_the_regularised_losses() -> None:
    """For the bilinear game f = xy: v = (y, -x), ½v_j² = ½x² for x and ½y² for y, so that w = (y + γx, -x + γy)."""
    import torch

    from detente.games.quadratic import Bilinear

    jare = runpy.run_path(str(EXAMPLES / "own_method.py"))["Jare"](strength=0.5)
    game = Bilinear()
    x, y = game.players
    vectors = {x: torch.tensor([2.0]), y: torch.tensor([3.0])}
    evaluation, _ = jare(game, vectors, {}, {}, {}, game.players)
    assert {name: block.item() for name, block in evaluation.field.items()} == {x: 3 + 0.5 * 2, y: -2 + 0.5 * 3}


def test_own_data(capsys: pytest.CaptureFixture[str]) -> None:
    """Each source with its shape, its range and whether labels came along."""
    _, lines = ran("own_data", capsys, steps=1)
    descriptions = {line[:20].strip(): line[20:] for line in lines}
    assert {name: "no labels" not in line for name, line in descriptions.items()} == {
        "a tensor of points": False,
        "an array of bytes": False,
        "a tensor of images": False,
        "a Dataset": True,
        "a file of numbers": False,
        "a folder of images": True,
    }
    images = [line for name, line in descriptions.items() if name != "a tensor of points"]
    assert all("batch from -1.00 to 1.00" in line for line in images)
    assert "200 samples (1, 16, 16)" in descriptions["a folder of images"]
