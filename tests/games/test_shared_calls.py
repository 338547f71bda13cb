"""What turns on one batch, and terms of one loss, compute once; what modules hold during and after an evaluation."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from detente import methods
from detente.autodiff import vector_field
from detente.errors import InvalidValue
from detente.games.networks import Networks
from detente.training.stepper import Stepper

BATCH = {"x": torch.randn(6, 3, generator=torch.Generator().manual_seed(0))}


class Counted(nn.Module):
    """A small network that counts its calls."""

    def __init__(self, inputs: int, outputs: int, *more: nn.Module) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(inputs + 10 * outputs)
        self.layers = nn.Sequential(nn.Linear(inputs, 8), *more, nn.Tanh(), nn.Linear(8, outputs))
        for parameter in self.parameters():
            parameter.data.normal_(generator=generator)
        self.calls: list[int] = []

    def forward(self, x: Tensor) -> Tensor:
        self.calls.append(len(x))
        return self.layers(x)


def losses(net: Any, batch: Any) -> dict[str, Any]:
    features = net.features(batch["x"])
    return {
        "features": lambda: net.head(features).square().mean() - net.judge(features).mean(),
        "head": lambda: net.head(features).square().mean(),
        "judge": lambda: net.judge(features).mean().square(),
    }


def game(losses: Any = losses, *more: nn.Module) -> Networks:
    players = {"features": Counted(3, 4, *more), "head": Counted(4, 1), "judge": Counted(4, 2)}
    return Networks(players, losses, BATCH, batch=6)


def counts(game: Networks) -> dict[str, int]:
    found = {name: len(module.calls) for name, module in game.modules.items()}  # type: ignore[arg-type]
    for module in game.modules.values():
        module.calls.clear()  # type: ignore[union-attr, operator]
    return found


def trained(own: Networks, steps: int = 3) -> dict[str, Tensor]:
    stepper = Stepper(own, methods.alternating(learning_rate=1e-2))
    counts(own)
    for _ in range(steps):
        stepper.step(BATCH)
    return stepper.state.flat()


def test_turns_on_one_batch_call_a_player_that_has_not_moved_once() -> None:
    """To the bit the same as with a call in each turn; the last player's graph serves its own turn."""
    shared, apart = game(), game()
    found = trained(shared)
    assert counts(shared) == {"features": 3, "head": 6, "judge": 6}
    apart.evaluation_memo["repeats calls in a step"] = False
    expected = trained(apart)
    assert counts(apart) == {"features": 9, "head": 6, "judge": 6}
    assert found.keys() == expected.keys() and all(torch.equal(found[name], expected[name]) for name in found)


def test_batches_of_their_own_and_buffers_are_not_shared() -> None:
    own = game()
    stepper = Stepper(own, methods.alternating())
    counts(own)
    stepper.step()  # each turn draws its own batch
    assert counts(own)["features"] == 3
    normalized = game(losses, nn.BatchNorm1d(8))
    trained(normalized, steps=1)
    assert counts(normalized)["features"] == 3


def test_a_game_that_repeats_no_call_keeps_no_graphs() -> None:
    """Each turn computes the input anew, so that no call is the same as an earlier one."""
    own = game(lambda net, batch: losses(net, {"x": batch["x"] * 1}))
    trained(own, steps=2)
    assert own.evaluation_memo["repeats calls in a step"] is False
    assert "repeats calls in a step" not in game().evaluation_memo


def penalised(first: str) -> Any:
    def losses(net: Any, batch: Any) -> dict[str, Any]:
        terms = {
            "slope": lambda: net.judge.slope(batch["x"]).square().mean(),
            "score": lambda: net.judge(batch["x"]).square().mean(),
        }
        return {"judge": {name: terms[name] for name in sorted(terms, key=lambda name: name != first)}}

    return losses


@pytest.mark.parametrize("more", [(), (nn.BatchNorm1d(8),), (nn.Dropout(0.5),)], ids=["plain", "buffers", "draws"])
def test_scores_share_the_call_of_a_slope_before_them(more: tuple[nn.Module, ...]) -> None:
    results, calls = [], []
    for first in ("slope", "score"):
        own = Networks({"judge": Counted(3, 1, *more)}, penalised(first), BATCH, batch=6)
        vectors, buffers = own.initial(torch.Generator())
        batch = own.complete(BATCH, torch.Generator().manual_seed(0))
        counts(own)
        results.append(vector_field(own, vectors, buffers, own.with_step(batch, torch.tensor(0))))
        calls.append(counts(own)["judge"])
    assert calls == ([1, 2] if not more else [2, 2])
    if not any(isinstance(layer, nn.Dropout) for layer in more):
        torch.testing.assert_close(results[0].field, results[1].field, rtol=1e-5, atol=1e-6)
        torch.testing.assert_close(results[0].losses, results[1].losses, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("fails", [False, True])
def test_modules_have_their_own_parameters_again_after_an_evaluation(fails: bool) -> None:
    seen: list[bool] = []

    def watching(net: Any, batch: Any) -> dict[str, Any]:
        result = net.judge(batch["x"]).mean()
        seen.append(isinstance(own_layer.weight, nn.Parameter))
        if fails and len(seen) > count:
            raise ValueError("on purpose")
        return {"judge": result}

    own_layer, count = nn.Linear(1, 1), 10**6
    own = Networks({"judge": Counted(3, 1, nn.BatchNorm1d(8))}, watching, BATCH, batch=6)
    judge: Any = own.modules["judge"]
    before = {name: tensor for name, tensor in (*judge.named_parameters(), *judge.named_buffers())}
    own_layer, count = judge.layers[0], len(seen)
    vectors, buffers = own.initial(torch.Generator())
    batch = own.with_step(BATCH, torch.tensor(0))
    if fails:
        with pytest.raises(InvalidValue, match="on purpose"):
            vector_field(own, vectors, buffers, batch)
    else:
        after = vector_field(own, vectors, buffers, batch).buffers["judge"]
        assert int(after["layers.1.num_batches_tracked"]) == 1
    assert seen[-1] is False, "during an evaluation it holds views of the player's vector"
    after_it = {name: tensor for name, tensor in (*judge.named_parameters(), *judge.named_buffers())}
    assert all(after_it[name] is tensor for name, tensor in before.items())
    assert int(before["layers.1.num_batches_tracked"]) == 0
