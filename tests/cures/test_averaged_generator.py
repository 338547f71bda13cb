"""Tests of `AveragedGenerator`."""

from collections.abc import Callable
from typing import Any

import pytest

from detente.cures.averaged_generator import AveragedGenerator
from detente.schemes.averaging import Averaging

Make = Callable[..., Any]


def test_averaged_generator(case: Make, game: Make, trains: Make) -> None:
    ill = case("oscillation or limit cycle", steps=5000)
    _, method = trains(ill, AveragedGenerator()(ill))
    assert isinstance(method.scheme, Averaging)
    assert method.scheme.decay**100 == pytest.approx(0.5, rel=0.02)  # pyright: ignore[reportOperatorIssue]
