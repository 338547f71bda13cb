"""Networks whose losses are finite sums: the whole set in parts, and the methods that need it."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import dropout, mse_loss, softplus

from detente import InvalidValue, Networks, Stepper, methods
from detente.autodiff import vector_field
from detente.fields.base import mean_field
from detente.modules.net import Net

SAMPLES = {
    "x": torch.randn(50, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0)),
    "y": torch.randn(50, 1, dtype=torch.float64, generator=torch.Generator().manual_seed(1)),
}


def losses(net: Net, batch: dict[str, Tensor]) -> dict[str, Any]:
    prediction = net.model(batch["x"])
    fake, real = net.judge(prediction), net.judge(batch["y"])
    return {
        "model": {"fit": mse_loss(prediction, batch["y"]), "adversarial": softplus(-fake).mean()},
        "judge": softplus(fake).mean() + softplus(-real).mean(),
    }


def players() -> dict[str, Any]:
    return {"model": lambda: nn.Linear(3, 1).double(), "judge": lambda: nn.Linear(1, 1).double()}


def test_the_mean_over_the_parts_equals_the_field_of_the_whole_set() -> None:
    game = Networks(players(), losses, SAMPLES, batch=8, finite_sum=True)
    assert game.size == 50 and [len(part["x"]) for part in game.parts()] == [8] * 6 + [2]
    vectors, buffers = game.initial(torch.Generator().manual_seed(0))
    step = torch.zeros((), dtype=torch.int64)
    whole = vector_field(game, vectors, buffers, game.with_step(game.complete(SAMPLES, torch.Generator()), step))
    mean = mean_field(game, vectors, buffers, step, game.players)
    for name in game.players:
        torch.testing.assert_close(mean.field[name], whole.field[name], rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("method", [methods.svrg(), methods.svre(), methods.full_batch()])
def test_variance_reduced_methods_train(method: Any) -> None:
    stepper = Stepper(Networks(players(), losses, SAMPLES, batch=8, finite_sum=True), method)
    assert bool(stepper.step().finite) and bool(stepper.step().finite)


def test_losses_that_are_not_finite_sums_are_refused() -> None:
    with pytest.raises(InvalidValue, match="finite_sum=True"):
        Stepper(Networks(players(), losses, SAMPLES, batch=8), methods.svrg())
    with pytest.raises(InvalidValue, match="stored set"):
        Networks(players(), losses, [SAMPLES], finite_sum=True)

    def noisy(net: Net, batch: dict[str, Tensor]) -> dict[str, Any]:
        return losses(net, {**batch, "x": dropout(batch["x"], 0.5)})

    with pytest.raises(InvalidValue, match="random"):
        Networks(players(), noisy, SAMPLES, finite_sum=True)
