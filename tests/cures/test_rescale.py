"""Tests of `Rescale`."""

from collections.abc import Callable
from typing import Any

import torch

from detente.cures.rescale import Rescale

Make = Callable[..., Any]


def test_rescale(case: Make, game: Make, trains: Make) -> None:
    far = case("data scale", game=game(data=400 + torch.tensor([[1.0, 1000.0]]) * torch.randn(256, 2)))
    changed, method = trains(far, Rescale()(far))
    state = method.playing(changed).initial(changed, torch.Generator().manual_seed(0))
    samples = changed.sample(state, 512, torch.Generator().manual_seed(1))
    real = far.game.data.take(torch.arange(256))["real"]
    raw = far.game.initial(torch.Generator().manual_seed(0))[0]["generator"]
    assert torch.equal(raw, state.vectors["generator"])  # the same networks, from the same random numbers
    plain = far.method.initial(far.game, torch.Generator().manual_seed(0))
    inner = far.game.generate(plain, torch.zeros(1, 3))
    expected = real.double().mean(0) + real.double().std(0) * inner.double()
    torch.testing.assert_close(changed.generate(state, torch.zeros(1, 3)).double(), expected, rtol=1e-4, atol=1e-2)
    torch.testing.assert_close(
        changed.trained(state)["generator"](torch.zeros(1, 3)).double(), expected, rtol=1e-4, atol=1e-2
    )
    assert samples[:, 1].std() > 50 * samples[:, 0].std() and abs(float(samples[:, 0].mean()) - 400) < 2
    assert Rescale()(case("collapse")) is None
    assert Rescale()(case("data scale", game=changed)) is None  # it is rescaled already
