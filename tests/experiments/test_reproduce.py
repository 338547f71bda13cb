"""Every experiment runs at its smallest size, resumes, and evaluates its claims."""

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
from detente.experiments.support.interval_estimate import Estimate
from detente.experiments.support.reproduction import Outcome, reproduce
from detente.registry import members

T = TypeVar("T")
EXPERIMENTS = sorted(members("experiments"))


def no_progress(items: Iterable[T], name: str, total: int | None = None) -> Iterator[T]:
    yield from items


def experiment(name: str) -> Experiment:
    return members("experiments")[name]()


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_smoke(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It runs, plots and evaluates every claim; a second call reuses the runs and gives the same numbers."""
    first = reproduce(experiment(name), "smoke", tmp_path, no_progress)
    assert (tmp_path / "figure.png").stat().st_size > 5_000
    assert repr(Outcome.read(tmp_path / "outcome.json")) == repr(first)  # NaN differs from itself, but not in print
    assert len(first.claims) == len(experiment(name).claims) > 0
    monkeypatch.setattr(members("experiments")[name], "draw", lambda *_: None)  # the figure was drawn once
    second = reproduce(experiment(name), "smoke", tmp_path, no_progress)
    for claim, other_claim in zip(first.claims, second.claims, strict=True):
        np.testing.assert_array_equal(
            [claim.measured.value, claim.measured.low], [other_claim.measured.value, other_claim.measured.low]
        )


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_descriptions_and_claims(name: str) -> None:
    tested = experiment(name)
    assert set(tested.sizes) == set(PROFILES)
    assert all((tested.title, tested.paper, tested.figure))
    assert all(claim.sentence and claim.rule.decide(Estimate.exact(math.nan)) == "undecided" for claim in tested.claims)
    with pytest.raises(InvalidValue, match="profile"):
        tested.size("huge")


def test_estimates_of_a_fixed_number_of_observations() -> None:
    values = [1.0, 2.0, 4.0, 7.0]
    estimate = Estimate.mean(values)
    low, high = stats.ttest_1samp(values, 0).confidence_interval(0.95)
    assert (estimate.value, estimate.low, estimate.high) == pytest.approx((3.5, low, high))
    assert math.isnan(Estimate.mean([1.0, math.nan]).value)
    share = Estimate.fixed_share(17, 20)
    assert (
        share.value == 85 and share.low == pytest.approx(64.0, abs=0.1) and share.high == pytest.approx(94.8, abs=0.1)
    )
    assert Estimate.fixed_share(20, 20).high == 100


def test_the_command_lists_experiments_and_rejects_invalid_arguments(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["reproduce", "--list"]) == 0
    assert all(name in capsys.readouterr().out for name in EXPERIMENTS[:1])
    ring = ["reproduce", "numerics_ring"]
    wrong = [["--profile", "x"], ["--until", "tomorrow"], ["--max-hours", "0"], ["--workers", "0"], ["numerics_rin"]]
    for arguments in (["reproduce"], ["reproduce", "numerics_rin"], *([*ring, *words] for words in wrong)):
        assert main(arguments) == 2
        assert len(capsys.readouterr().err.strip().splitlines()) == 1


def test_the_command_runs_several_experiments(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Each into its own folder; the one on which less time was spent comes next, and one that fails stops no other."""
    (tmp_path / "numerics_lemmas-smoke").mkdir()
    (tmp_path / "numerics_lemmas-smoke" / "figure.png").mkdir()  # so that the figure cannot be written
    names = ["numerics_disc", "numerics_lemmas", "sgan_two_discriminators"]
    words = ["--profile", "smoke", "--until", "decided", "--max-seeds", "3", "--out", str(tmp_path)]
    assert main(["reproduce", *names, *words]) == 1
    output = capsys.readouterr().out
    assert "numerics_lemmas failed" in output and "sgan_two_discriminators: 3 seeds" in output
    assert len(list((tmp_path / "sgan_two_discriminators-smoke" / "seeds").iterdir())) == 3
    assert (tmp_path / "numerics_disc-smoke" / "outcome.json").exists()


def test_the_command_prints_claims_and_deviations(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["reproduce", "numerics_disc", "--profile", "smoke", "--out", str(tmp_path / "disc")]) == 0
    output = capsys.readouterr().out
    assert "holds" in output and "Differs from the paper" in output and "figure.png" in output
