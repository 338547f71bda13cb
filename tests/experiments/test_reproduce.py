"""Every experiment runs at its smallest size, goes on where it stopped, and judges its claims by numbers."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TypeVar

import numpy as np
import pytest
from scipy import stats

from detente.cli.entry_point import main
from detente.errors import InvalidValue
from detente.experiments.base import PROFILES, Experiment
from detente.experiments.support.estimate import Estimate
from detente.experiments.support.outcome import Outcome, reproduce
from detente.registry import members

T = TypeVar("T")
EXPERIMENTS = sorted(members("experiments"))


def silent(items: Iterable[T], name: str, total: int | None = None) -> Iterator[T]:
    yield from items


def experiment(name: str) -> Experiment:
    return members("experiments")[name]()


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_smoke(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It runs, draws, judges every claim, and a second time gives the same numbers from what it left."""
    first = reproduce(experiment(name), "smoke", tmp_path, silent)
    assert (tmp_path / "figure.png").stat().st_size > 5_000
    assert Outcome.read(tmp_path / "outcome.json") == first
    assert len(first.verdicts) == len(experiment(name).claims) > 0
    monkeypatch.setattr(members("experiments")[name], "draw", lambda *_: None)  # the figure was drawn once
    again = reproduce(experiment(name), "smoke", tmp_path, silent)
    for one, other in zip(first.verdicts, again.verdicts, strict=True):
        np.testing.assert_array_equal([one.found.value, one.found.low], [other.found.value, other.found.low])


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_what_is_said(name: str) -> None:
    one = experiment(name)
    assert set(one.sizes) == set(PROFILES)
    assert all((one.title, one.paper, one.figure))
    assert all(claim.sentence and not claim.holds(Estimate.exact(math.nan)) for claim in one.claims)
    with pytest.raises(InvalidValue, match="profile"):
        one.size("huge")


def test_estimates() -> None:
    values = [1.0, 2.0, 4.0, 7.0]
    found = Estimate.mean(values)
    low, high = stats.ttest_1samp(values, 0).confidence_interval(0.95)
    assert (found.value, found.low, found.high) == pytest.approx((3.5, low, high))
    assert Estimate.difference(values, values) == Estimate(0, 0, 0, 4)
    assert math.isnan(Estimate.mean([1.0, math.nan]).value)
    share = Estimate.share(17, 20)
    assert (
        share.value == 85 and share.low == pytest.approx(64.0, abs=0.1) and share.high == pytest.approx(94.8, abs=0.1)
    )


def test_the_command_lists_and_refuses(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["reproduce", "--list"]) == 0
    assert all(name in capsys.readouterr().out for name in EXPERIMENTS[:1])
    for words in (["reproduce"], ["reproduce", "numerics_rin"], ["reproduce", "numerics_ring", "--profile", "x"]):
        assert main(words) == 2
        assert len(capsys.readouterr().err.strip().splitlines()) == 1


def test_the_command_says_what_holds(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["reproduce", "numerics_disc", "--profile", "smoke", "--out", str(tmp_path / "disc")]) == 0
    said = capsys.readouterr().out
    assert "holds" in said and "Differs from the paper" in said and "figure.png" in said
