"""`detente evaluate` and metrics on the command line: from names and files of the user to the page."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from detente import cli
from detente.cli.commands import evaluate
from detente.registry import members, summary
from tests.training.small_runs import lines

OWN = """
import torch
from detente.metrics import Metric


class MeanRadius(Metric):
    def __call__(self, subject):
        return float(subject.samples.norm(dim=1).mean())


def squares(x):
    return torch.cat([x, x**2], dim=1)


class Failing(Metric):
    def __call__(self, subject):
        raise KeyError("nothing")
"""
RING = "train --game ring --game.width 4 --game.depth 1 --game.batch 8 --samples 20 --steps 6 --seeds 0 1".split()


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    name = f"own_{tmp_path.name}".replace("-", "_")
    (tmp_path / f"{name}.py").write_text(OWN, encoding="utf-8")
    return tmp_path


def run(*words: str) -> int:
    return cli.main([*map(str, words)])


def own(folder: Path, name: str) -> str:
    return f"{next(folder.glob('own_*.py')).stem}.{name}"


def test_metrics_from_training_to_the_page(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    extra = [
        "log_likelihood:count=15",
        own(folder, "MeanRadius"),
        f"frechet_distance:extractor={own(folder, 'squares')}",
    ]
    assert run(*RING, "--metrics", *extra, "--out", "runs/one") == 0
    content = yaml.safe_load(Path("runs/one/run.yaml").read_text(encoding="utf-8"))
    assert content["metrics"] == extra
    last = lines(Path("runs/one"))[-1]["metrics"]
    assert {"log_likelihood:count=15", "mean_radius", extra[2]} <= last.keys()
    assert run("evaluate", "runs/one", "--n", "64", "--metrics", own(folder, "MeanRadius"), "modes_covered") == 0
    shown = capsys.readouterr().out
    assert "mean_radius" in shown and "64 generated samples" in shown and "Recorded." in shown
    assert run("resume", "runs/one", "--steps", "9") == 0
    assert {"mean_radius", "log_likelihood:count=15"} <= lines(Path("runs/one"))[-1]["metrics"].keys()
    assert run("report", "runs/one", "--out", "page.html") == 0
    page = Path("page.html").read_text(encoding="utf-8")
    for text in ("Mean radius (64 generated samples)", "20 generated samples", own(folder, "squares"), "(count=15)"):
        assert text in page
    assert "at step 6" in page, "the evaluation's values are older than those of the training"


def test_without_names_it_measures_what_the_training_does(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(*RING, "--metrics", "coverage", "--out", "runs/one") == 0
    before = lines(Path("runs/one"))
    assert run("evaluate", "runs") == 0
    assert lines(Path("runs/one")) == before
    shown = capsys.readouterr().out
    assert all(name in shown for name in ("coverage", "modes_covered", "mode_divergence"))


def test_a_comparison_measures_them_for_every_method(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["compare", *RING[1:], "--methods", "simultaneous", "alternating", "--metrics", "log_likelihood"]
    assert run(*words, "--out", "runs/both") == 0
    assert "Log-likelihood" in capsys.readouterr().out
    assert run(*words, "--out", "runs/both") == 0
    assert capsys.readouterr().out.count("already finished") == 2


@pytest.mark.filterwarnings("default")
def test_what_cannot_be_measured_is_said_and_not_recorded(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(*RING, "--metrics", "kid", "--out", "runs/one") == 0
    assert capsys.readouterr().err.count("kid is not measured: it needs RGB images") == 1
    assert run("report", "runs/one", "--out", "page.html") == 0
    assert "Kernel Inception Distance was not measured; it needs RGB" in Path("page.html").read_text(encoding="utf-8")
    before = Path("runs/one/metrics.jsonl").read_text(encoding="utf-8")
    capsys.readouterr()
    assert run("evaluate", "runs/one", "--metrics", own(folder, "Failing")) == 1
    captured = capsys.readouterr()
    assert captured.err.count("KeyError: 'nothing'") == 1 and "Nothing could be measured." in captured.out
    assert Path("runs/one/metrics.jsonl").read_text(encoding="utf-8") == before


def test_a_long_measurement_shows_its_progress(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(*RING, "--out", "runs/one") == 0
    monkeypatch.setattr(evaluate, "INTERVAL", -1.0)  # a line for every part
    assert run("evaluate", "runs/one", "--n", "5000") == 0
    assert "one: samples: 2 of 3" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--metrics", "fidd"], "metrics: got 'fidd'"),
        (
            ["--metrics", "fid"],
            "it needs RGB images of at least 32 pixels a side, and this game's data have shape (2,)",
        ),
        (["--metrics", "frechet_distance:extractor=none.pt2"], "There is no such file"),
        (["--n", "0"], "n: got 0"),
        (["--n", "many"], "n: got 'many'"),
        (["--step", "77"], "step: got 77"),
    ],
)
def test_mistakes_get_one_line(
    words: list[str], message: str, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(*RING, "--out", "runs/one") == 0
    capsys.readouterr()
    assert run("evaluate", "runs/one", *words) == 2
    error = capsys.readouterr().err
    assert message in error and error.count("\n") == 1


def test_a_directory_without_runs_gets_one_line(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("evaluate", "nowhere") == 2
    assert capsys.readouterr().err.startswith("detente: runs: got 'nowhere'")


def test_every_metric_has_its_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("list", "metrics") == 0
    head, *rows = capsys.readouterr().out.splitlines()
    assert head.split() == "metric better what it measures what it needs".split()
    for name, row in zip(members("metrics"), rows, strict=False):
        kind = members("metrics")[name]
        assert (
            row.split()[:2] == [name, kind.better] and summary(kind) in row and kind.needs and row.endswith(kind.needs)
        )
