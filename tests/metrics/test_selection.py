"""Metrics by name, by import path and as objects; typing errors are named."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from detente.errors import InvalidValue
from detente.metrics import EvaluationContext, Metric
from detente.metrics.base import label
from detente.metrics.frechet import FID
from detente.metrics.mode_coverage import ModesCovered
from detente.metrics.selection import metrics_by_label
from detente.registry import members


@dataclass(frozen=True)
class Bright(Metric):
    title = "Bright"
    above: float = 0.5

    def __call__(self, subject: EvaluationContext) -> float:
        return float((subject.samples > self.above).double().mean())


class Fid(Metric):
    """Has the name of a built-in metric."""

    def __call__(self, subject: EvaluationContext) -> float:
        return 1.0


@pytest.fixture
def user_module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    (tmp_path / "own_metrics.py").write_text(
        "from detente.metrics import Metric\n"
        "class Mine(Metric):\n"
        "    def __init__(self, size=3): self.size = size\n"
        "    def __call__(self, subject): return float(self.size)\n"
        "made = Mine(5)\n"
        "def build(size=1): return Mine(size)\n"
        "def broken(): raise RuntimeError('no\\nway')\n"
        "number = 3\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    yield "own_metrics"
    sys.modules.pop("own_metrics", None)


def test_every_member_is_found_by_its_name() -> None:
    assert list(metrics_by_label(members("metrics"))) == list(members("metrics"))


def test_settings_other_than_the_defaults_are_part_of_the_name() -> None:
    metrics = metrics_by_label(["fid:real=50000,weights=a/b.pth", "modes_covered:least=1", ModesCovered(least=20)])
    assert metrics == {
        "fid:weights=a/b.pth,real=50000": FID("a/b.pth", 50_000),
        "modes_covered": ModesCovered(),
        "modes_covered:least=20": ModesCovered(least=20),
    }
    assert metrics_by_label("modes_covered") == metrics_by_label(ModesCovered()) == {"modes_covered": ModesCovered()}
    assert label(Bright()) == "bright" and label(Bright(0.7)) == "bright:above=0.7"


def test_names_of_labels_build_the_same_metrics_again() -> None:
    metrics = metrics_by_label(["fid:real=7", "kid:subsets=3,size=9", "ngram_divergence:length=2"])
    assert metrics_by_label(list(metrics)) == metrics


def test_a_metric_with_the_name_of_a_member_gets_another_label() -> None:
    assert label(Fid()) == f"{Fid.__module__}.Fid" and list(metrics_by_label(["fid", Fid()])) == ["fid", label(Fid())]


def test_metrics_of_the_users_own_modules(user_module: str) -> None:
    metrics: Any = metrics_by_label([f"{user_module}.Mine:size=4"])
    assert metrics["mine"].size == 4
    assert [m.size for m in metrics_by_label([f"{user_module}.made"]).values()] == [5]  # type: ignore[attr-defined]
    assert [m.size for m in metrics_by_label([f"{user_module}.build:size=2"]).values()] == [2]  # type: ignore[attr-defined]
    assert "own_metrics.Mine({'size': 4})" == repr(metrics["mine"])  # no address, so that a run is recognized


@pytest.mark.parametrize(
    ("requested", "message"),
    [
        (["fidd"], "Did you mean 'fid'"),
        (["fid:reel=5"], "metrics: fid: got 'reel'; allowed: real, weights. Did you mean 'real'"),
        (["fid:real"], "NAME:KEY=VALUE"),
        (["fid:real=1"], "metrics: fid.real: got 1; allowed: a whole number, at least 2"),
        (["fid:real=many"], "metrics: fid.real: got 'many'"),
        (["no_module.Metric"], "No module named 'no_module'"),
        (["own_metrics.Nothing"], "has no attribute 'Nothing'"),
        (["own_metrics.broken"], "RuntimeError: no way"),
        (["own_metrics.number"], "got 'own_metrics.number'"),
        (["own_metrics.made:size=3"], "without settings"),
        ([3], "metrics: got 3"),
        (["fid", FID()], "metrics: got 'fid'; allowed: each metric once"),
    ],
)
def test_invalid_metrics_give_one_line_errors(requested: list[Any], message: str, user_module: str) -> None:
    with pytest.raises(InvalidValue) as caught:
        metrics_by_label(requested)
    assert message in str(caught.value) and "\n" not in str(caught.value)
