"""Which cures are tried for which failures."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn

from detente import methods
from detente.cures.base import Change
from detente.cures.plan import candidates, withheld
from detente.registry import members

Make = Callable[..., Any]


@pytest.mark.parametrize(
    "kind, failure",
    [
        ("adversarial", "collapse"),
        ("networks", "data scale"),
        ("networks", "wiring"),
        ("networks", "unbounded critic"),
        ("images", "too few data"),
        ("images", "normalisation"),
    ],
)
def test_every_candidate_trains(kind: str, failure: str, case: Make, game: Make, trains: Make) -> None:
    ill = case(failure, game=game(kind))
    chosen = candidates(ill, may_change_networks=True)
    assert 3 <= len(chosen) <= 4
    assert len({title for title, _ in chosen}) == len(chosen)
    assert any("R2" in str(change.game.get("penalties")) and change.method == "averaged" for _, change in chosen)
    for _, change in chosen:
        trains(ill, change)


def test_networks_are_left_alone_unless_they_may_change(case: Make, game: Make) -> None:
    ill = case("normalisation", "vanishing gradient", "collapse", game=game("images"))
    changing = {"spectral_norm", "norm", "initialization", "packed"}
    assert not any(changing & set(change.game) for _, change in candidates(ill, most=10))
    assert any("norm" in change.game for _, change in candidates(ill, may_change_networks=True))


def test_a_known_cause_is_removed_in_every_candidate_and_alone(case: Make) -> None:
    chosen = candidates(case("data scale", "collapse"))
    assert all(change.game.get("rescale") for _, change in chosen)
    assert Change({"rescale": True}) in [change for _, change in chosen]
    assert len(candidates(case("data scale", "collapse"), most=1)) == 1


def test_a_healthy_gan_is_not_touched(case: Make) -> None:
    assert candidates(case("healthy")) == []
    assert len(candidates(case())) == 3  # nothing was found: general cures


def test_losses_at_fault_are_replaced(case: Make, game: Make) -> None:
    chosen = candidates(case("wiring", game=game("networks")))
    assert sum(change.game.get("separate", False) for _, change in chosen) >= 2


def test_rates_that_are_off_are_changed_with_everything_else(case: Make) -> None:
    method = methods.alternating(learning_rate={"generator": 1e-5, "discriminator": 1e-3})
    chosen = candidates(case("discriminator overpowers", "collapse", method=method))
    assert all(change.method for _, change in chosen)
    assert any("R1(" in str(change.game.get("penalties")) for _, change in chosen)


def test_a_discriminator_that_refuses_is_no_candidate(case: Make, game: Make, trains: Make) -> None:
    class Reshaping(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.Linear(2, 1)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.layer(x.view(-1, 2))

    ill = case("collapse", game=game(discriminator=Reshaping))
    chosen = candidates(ill, may_change_networks=True, most=20)
    assert not any("packed" in change.game for _, change in chosen)


def test_cures_state_what_they_treat() -> None:
    for name, kind in members("cures").items():
        assert kind.title and kind.treats, name
    assert members("cures")["rescale"].certain


def test_what_is_not_allowed_is_named(case: Make, game: Make) -> None:
    def tiny() -> nn.Module:
        network = nn.Sequential(nn.Linear(3, 8), nn.ReLU(), nn.Linear(8, 2))
        for parameter in network.parameters():
            nn.init.normal_(parameter, std=1e-4)
        return network

    assert "New initial weights" in withheld(case("vanishing gradient", game=game(generator=tiny)))
    assert "New initial weights" not in withheld(case("vanishing gradient"))


def test_what_the_budget_has_no_room_for_takes_no_place(case: Make) -> None:
    ill = case("collapse", "oscillation or limit cycle")
    titles: list[str] = []
    everything = candidates(ill, affordable=lambda title, change: not titles.append(title))
    chosen = candidates(ill, affordable=lambda title, change: title != titles[0])
    assert titles[0] in [title for title, _ in everything]
    assert titles[0] not in [title for title, _ in chosen]
    assert len(chosen) == len(everything) == 4
