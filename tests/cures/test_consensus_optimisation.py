"""Tests of `ConsensusOptimisation`."""

from collections.abc import Callable
from typing import Any

from detente.cures.consensus_optimisation import ConsensusOptimisation
from detente.fields.consensus import Consensus

Make = Callable[..., Any]


def test_consensus_optimisation(case: Make, game: Make, trains: Make) -> None:
    ill = case("oscillation or limit cycle")
    _, method = trains(ill, ConsensusOptimisation()(ill))
    assert isinstance(method.field, Consensus)
    assert ConsensusOptimisation()(case("oscillation or limit cycle", game=game("images"))) is None
