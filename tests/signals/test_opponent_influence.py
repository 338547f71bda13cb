"""OpponentInfluence: a player whose gradient ignores its opponent."""

from typing import Any

import pytest
from torch import Tensor, nn

from detente.signals.opponent_influence import OpponentInfluence
from tests.signals.conftest import Observe, Past, artists, cross_entropy, plane_game


def apart(net: Any, batch: Any) -> dict[str, Tensor]:
    """Return losses of a generator that the discriminator does not reach."""
    fake = net.artist(batch["z"])
    scores = net.critic(batch["real"]), net.critic(fake)
    soft = nn.functional.softplus
    return {"artist": fake.square().mean(), "critic": soft(-scores[0]).mean() + soft(scores[1]).mean()}


@pytest.mark.parametrize("game", [plane_game, lambda: artists(cross_entropy)])
def test_opponents_matter(observe: Observe, game: Any) -> None:
    values = OpponentInfluence()(observe(game()))
    assert values["generator"] > 0.01
    assert values["discriminator"] > 0.01


def test_a_generator_without_opponent(observe: Observe) -> None:
    values = OpponentInfluence()(observe(artists(apart)))
    assert values["generator"] == 0
    assert values["discriminator"] > 0.01


def test_finding(past: Past) -> None:
    (finding,) = OpponentInfluence().findings(past({"opponent_influence.generator": 0.0}))
    assert finding.failure == "wiring"
    assert not OpponentInfluence().findings(past({"opponent_influence.generator": 0.5}))
    assert not OpponentInfluence().findings(past({}))


def test_other_terms_that_outweigh_the_scores(past: Past) -> None:
    values = {"opponent_influence.generator": 0.1, "spread.variance": 0.1}
    (finding,) = OpponentInfluence().findings(past(values))
    assert finding.failure == "wiring" and "other terms" in finding.evidence
    assert not OpponentInfluence().findings(past({**values, "spread.variance": 0.9})), "as of pairs of images"
    assert not OpponentInfluence().findings(past({**values, "opponent_influence.generator": 0.6}))
