"""Latents of a game with custom batches: many different ones pass the check, a few do not."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import softplus

from detente import Networks
from detente.checks import off
from detente.checks.base import Setup
from detente.checks.distinct_latents import DistinctLatents


def game(latents: Any) -> Networks:
    def losses(net: Any, batch: Any) -> dict[str, Tensor]:
        real, fake = net.judge(batch["real"]), net.judge(net.maker(batch["z"]))
        return {"judge": softplus(-real).mean() + softplus(fake).mean(), "maker": softplus(-fake).mean()}

    def draw(generator: torch.Generator) -> dict[str, Tensor]:
        return {"real": torch.randn(32, 2, generator=generator), "z": latents(generator)}

    with off():
        return Networks({"judge": lambda: nn.Linear(2, 1), "maker": lambda: nn.Linear(2, 2)}, losses, draw)


@pytest.mark.parametrize(
    ("latents", "failures"),
    [
        (lambda generator: torch.randn(32, 2, generator=generator), []),
        (lambda generator: torch.randint(2, (32, 2), generator=generator).float(), ["sampling"]),
        (lambda generator: torch.zeros(32, 2), []),  # all the same: named elsewhere
    ],
)
def test_few_latents_are_named(latents: Any, failures: list[str]) -> None:
    found = DistinctLatents()(Setup(game(latents)))
    assert [finding.failure for finding in found] == failures
    assert all("only 4 are different" in finding.evidence for finding in found)


def test_the_real_samples_of_an_autoencoder_are_no_latents() -> None:
    def losses(net: Any, batch: Any) -> dict[str, Tensor]:
        x, y = batch["x"], net.coder(batch["x"])
        judge = softplus(-net.judge(x)).mean() + softplus(net.judge(y)).mean()
        return {"coder": (x - y).square().mean() + softplus(-net.judge(y)).mean(), "judge": judge}

    with off():
        players = {"coder": lambda: nn.Linear(2, 2), "judge": lambda: nn.Linear(2, 1)}
        found = DistinctLatents()(Setup(Networks(players, losses, {"x": torch.randn(16, 2)}, batch=16)))
    assert not found
