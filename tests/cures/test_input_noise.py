"""Tests of `InputNoise`."""

from collections.abc import Callable
from typing import Any

import pytest
import torch

from detente.cures.input_noise import InputNoise

Make = Callable[..., Any]


def test_input_noise(case: Make, game: Make, trains: Make) -> None:
    ill = case("discriminator overpowers", game=game(data=10.0 * torch.randn(256, 2)), steps=100)
    changed, _ = trains(ill, InputNoise()(ill))
    spread = float(ill.deviation.mean())
    values = [float(changed.filter.at(torch.tensor(t))[0]) for t in (0, 80)]
    assert values == pytest.approx([0.3 * spread, 0.0], abs=1e-6)
    own = case("collapse", game=game("networks"))
    changed, _ = trains(own, InputNoise()(own))
    assert changed.stochastic
    judge, x = changed.modules["judge"], torch.zeros(4096, 2)
    with torch.random.fork_rng():
        recorded: list[torch.Tensor] = []
        judge[0].register_forward_pre_hook(lambda _, inputs: recorded.append(inputs[0]))
        judge(x)
        judge.eval()(x)
        judge.train()
    torch.testing.assert_close(recorded[0].std(0).double(), 0.1 * own.deviation, rtol=0.05, atol=0)
    assert torch.equal(recorded[1], x)  # no noise in evaluation mode
