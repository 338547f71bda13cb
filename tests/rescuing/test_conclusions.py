"""What checks suspect, and what a short run says to it."""

from pathlib import Path

import pytest

from detente.checks.base import Finding
from detente.rescuing.conclusions import concluded
from detente.rescuing.rescue import Rescue
from detente.signals.reference import Quality
from tests.signals.conftest import Past, past

__all__ = ["past"]

GOOD = Quality(variance=1.0, coverage=0.8, precision=0.8, distance=0.01, cells=1.0, spread=1.0)
ROUGH = Quality(variance=1.0, coverage=0.1, precision=0.1, distance=0.08, cells=0.7, spread=1.0)
LUMPS = Quality(variance=1.0, coverage=0.0, precision=0.0, distance=0.2, cells=0.2, spread=1.0)


def suspicion(certainty: float, failure: str = "data scale") -> Finding:
    return Finding(failure, "Seen.", certainty, "Change it.")


def test_good_samples_refute_what_a_check_only_suspects(past: Past) -> None:
    history = past({"spread.distance": 0.01})
    assert not concluded([suspicion(0.75)], history, GOOD)
    assert concluded([suspicion(0.95)], history, GOOD) == [suspicion(0.95)]
    assert concluded([suspicion(0.6, "labels ignored")], history, GOOD)  # which samples do not show


def test_rough_samples_refute_only_weak_suspicions(past: Past) -> None:
    history = past({"spread.distance": 0.08})
    assert not concluded([suspicion(0.5)], history, ROUGH)
    assert concluded([suspicion(0.55)], history, ROUGH)
    assert concluded([suspicion(0.5)], history, LUMPS), "two lumps of the data's variance refute nothing"


def test_a_weak_suspicion_is_treated_only_if_the_run_shows_a_failure(past: Past) -> None:
    assert [f.certainty < 0.5 for f in concluded([suspicion(0.5)], past({"spread.distance": 0.2}), LUMPS)] == [True]
    collapsed = past({"spread.variance": 0.001, "spread.distance": 0.8})
    assert suspicion(0.5) in concluded([suspicion(0.5)], collapsed, None)


@pytest.mark.parametrize(("quality", "words"), [(GOOD, "is healthy"), (ROUGH, "is healthy"), (LUMPS, "not good yet")])
def test_a_gan_without_findings_and_without_good_samples_is_not_called_healthy(quality: Quality, words: str) -> None:
    result = Rescue(steps=10, budget=3.0, directory=Path(), before=quality)
    assert result.healthy and words in result.conclusion and words in str(result)
