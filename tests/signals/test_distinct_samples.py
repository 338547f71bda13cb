"""Different samples: a generator of a few has collapsed, however far they spread."""

import pytest

from detente.signals.distinct_samples import DistinctSamples
from tests.signals.conftest import Observe, Past, plane, plane_game


def test_shares(observe: Observe) -> None:
    observation = observe(plane_game(), seen=plane(64).repeat(8, 1))
    observation.__dict__["samples"] = plane(4).repeat(128, 1)
    values = DistinctSamples()(observation)
    assert values["fake"] == pytest.approx(4 / 512)
    assert values["real"] == pytest.approx(1 / 8)


def test_finding(past: Past) -> None:
    values = {"distinct_samples.fake": 4 / 512, "distinct_samples.real": 1.0, "spread.variance": 1.0}
    (finding,) = DistinctSamples().findings(past(values))
    assert finding.failure == "collapse"
    assert "0.8% of the samples" in finding.evidence
    assert not DistinctSamples().findings(past({**values, "distinct_samples.fake": 1.0}))
    assert not DistinctSamples().findings(past({**values, "distinct_samples.real": 5 / 512}))  # categories
    assert not DistinctSamples().findings(past({**values, "spread.variance": 0.0}))  # all the same: named elsewhere
