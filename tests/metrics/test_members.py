"""The interface of every metric."""

from __future__ import annotations

import dataclasses

import pytest

from detente import registry as catalogue
from detente.metrics.base import Metric


@pytest.mark.parametrize("name", catalogue.members("metrics"))
def test_members_have_a_title_a_unit_and_a_direction(name: str) -> None:
    member = catalogue.members("metrics")[name]
    assert issubclass(member, Metric) and dataclasses.is_dataclass(member)
    metric = member()
    assert metric.title and isinstance(metric.unit, str) and metric.better in ("higher", "lower", "none")
    assert hash(metric) == hash(member()) and metric == member()
    for field in dataclasses.fields(metric):
        with pytest.raises(dataclasses.FrozenInstanceError):
            setattr(metric, field.name, 1)


def test_members_are_registered() -> None:
    names = set(catalogue.members("metrics"))
    assert {"modes_covered", "high_quality_fraction", "mode_divergence", "distance_to_solution"} <= names
    assert {"ring", "grid", "four_gaussians", "swiss_roll", "arrays", "image_folder", "digits"} <= set(
        catalogue.members("data")
    )
