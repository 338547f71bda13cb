"""Calls that turns and loss terms share; parameters of modules during and after an evaluation."""

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
    calls = {name: len(module.calls) for name, module in game.modules.items()}  # type: ignore[arg-type]
    for module in game.modules.values():
        module.calls.clear()  # type: ignore[union-attr, operator]
    return calls


def trained(game_to_train: Networks, steps: int = 3) -> dict[str, Tensor]:
    stepper = Stepper(game_to_train, methods.alternating(learning_rate=1e-2))
    counts(game_to_train)
    for _ in range(steps):
        stepper.step(BATCH)
    return stepper.state.flat()


def test_an_unchanged_player_is_called_once_for_all_turns_on_one_batch() -> None:
    """Bitwise equal to one call per turn; the last player's graph is reused in its own turn."""
    shared, apart = game(), game()
    actual = trained(shared)
    assert counts(shared) == {"features": 3, "head": 6, "judge": 6}
    apart.evaluation_memo["repeats calls in a step"] = False
    expected = trained(apart)
    assert counts(apart) == {"features": 9, "head": 6, "judge": 6}
    assert actual.keys() == expected.keys() and all(torch.equal(actual[name], expected[name]) for name in actual)


def test_calls_on_separate_batches_or_with_buffers_are_not_shared() -> None:
    separate = game()
    stepper = Stepper(separate, methods.alternating())
    counts(separate)
    stepper.step()  # each turn draws its own batch
    assert counts(separate)["features"] == 3
    normalized = game(losses, nn.BatchNorm1d(8))
    trained(normalized, steps=1)
    assert counts(normalized)["features"] == 3


def test_a_game_without_repeated_calls_keeps_no_graphs() -> None:
    """Each turn computes the input anew, so that no call is the same as an earlier one."""
    unshared = game(lambda net, batch: losses(net, {"x": batch["x"] * 1}))
    trained(unshared, steps=2)
    assert unshared.evaluation_memo["repeats calls in a step"] is False
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
        networks = Networks({"judge": Counted(3, 1, *more)}, penalised(first), BATCH, batch=6)
        vectors, buffers = networks.initial(torch.Generator())
        batch = networks.complete(BATCH, torch.Generator().manual_seed(0))
        counts(networks)
        results.append(vector_field(networks, vectors, buffers, networks.with_step(batch, torch.tensor(0))))
        calls.append(counts(networks)["judge"])
    assert calls == ([1, 2] if not more else [2, 2])
    if not any(isinstance(layer, nn.Dropout) for layer in more):
        torch.testing.assert_close(results[0].field, results[1].field, rtol=1e-5, atol=1e-6)
        torch.testing.assert_close(results[0].losses, results[1].losses, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("fails", [False, True])
def test_parameters_of_modules_are_restored_after_an_evaluation(fails: bool) -> None:
    holds_parameters: list[bool] = []

    def watching(net: Any, batch: Any) -> dict[str, Any]:
        result = net.judge(batch["x"]).mean()
        holds_parameters.append(isinstance(own_layer.weight, nn.Parameter))
        if fails and len(holds_parameters) > count:
            raise ValueError("on purpose")
        return {"judge": result}

    own_layer, count = nn.Linear(1, 1), 10**6
    networks = Networks({"judge": Counted(3, 1, nn.BatchNorm1d(8))}, watching, BATCH, batch=6)
    judge: Any = networks.modules["judge"]
    before = {name: tensor for name, tensor in (*judge.named_parameters(), *judge.named_buffers())}
    own_layer, count = judge.layers[0], len(holds_parameters)
    vectors, buffers = networks.initial(torch.Generator())
    batch = networks.with_step(BATCH, torch.tensor(0))
    if fails:
        with pytest.raises(InvalidValue, match="on purpose"):
            vector_field(networks, vectors, buffers, batch)
    else:
        after = vector_field(networks, vectors, buffers, batch).buffers["judge"]
        assert int(after["layers.1.num_batches_tracked"]) == 1
    assert holds_parameters[-1] is False, "during an evaluation it holds views of the player's vector"
    after_it = {name: tensor for name, tensor in (*judge.named_parameters(), *judge.named_buffers())}
    assert all(after_it[name] is tensor for name, tensor in before.items())
    assert int(before["layers.1.num_batches_tracked"]) == 0
