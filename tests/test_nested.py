"""Tensors nested in any form that a module may return."""

from __future__ import annotations

from collections import UserDict, namedtuple
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from detente import methods
from detente.errors import InvalidValue
from detente.games.networks import Networks
from detente.nested import map_tensors, tensors_of
from detente.training.stepper import Stepper

Pair = namedtuple("Pair", "scores name")


@dataclass(frozen=True)
class Output:
    """What a judge returns."""

    scores: Tensor
    features: Any = None


def forms(x: Tensor) -> list[Any]:
    return [x, (x, [x]), {"a": x, "b": (x, 3, None)}, Pair(x, "judge"), UserDict(a=x, b=[x]), Output(x, [Output(x)])]


def test_tensors_are_found_and_replaced_in_every_form() -> None:
    x = torch.randn(3)
    for before, count in zip(forms(x), [1, 2, 2, 1, 2, 2], strict=True):
        after = map_tensors(lambda tensor: 2 * tensor, before)
        assert type(after) is type(before)
        assert [torch.equal(tensor, 2 * x) for tensor in tensors_of(after)] == [True] * count
        assert [tensor is x for tensor in tensors_of(before)] == [True] * count  # the original is unchanged
    assert map_tensors(lambda tensor: tensor, forms(x)[2])["b"][1:] == (3, None)


class Judge(nn.Module):
    """Returns its scores in a form of the user's own."""

    def __init__(self, form: Any) -> None:
        super().__init__()
        self.layer, self.form = nn.Linear(4, 1), form

    def forward(self, x: Tensor) -> Any:
        return self.form(self.layer(x).tanh())


def trained(form: Any, scores: Any, precision: Any = "float32") -> dict[str, Any]:
    def losses(net: Any, batch: Any) -> dict[str, Any]:
        x = batch["x"]
        real, fake = scores(net.judge(x)), scores(net.judge(net.first(x)))
        assert real.dtype == torch.float32
        return {"first": -fake.mean(), "judge": fake.mean() - real.mean() + net.judge.slope(x).square().mean()}

    torch.manual_seed(0)
    players = {"first": nn.Linear(4, 4), "judge": Judge(form)}
    game = Networks(players, losses, {"x": torch.randn(16, 4)}, batch=8)
    stepper = Stepper(game, methods.alternating(), precision=precision)
    for _ in range(3):
        stepper.step()
    return stepper.state.vectors


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_a_judge_may_return_a_dataclass_or_any_mapping(precision: str) -> None:
    plain = trained(lambda y: y, lambda output: output, precision)
    dataclasses = trained(Output, lambda output: output.scores, precision)
    mappings = trained(lambda y: UserDict(scores=y), lambda output: output["scores"], precision)
    for name, vector in plain.items():
        assert torch.equal(vector, dataclasses[name]) and torch.equal(vector, mappings[name])


def test_an_output_without_tensors_is_named() -> None:
    def losses(net: Any, batch: Any) -> dict[str, Any]:
        return {"judge": net.judge(batch["x"]).scores.square().mean()}

    judge = Judge(lambda y: SimpleNamespace(scores=y))
    with pytest.raises(InvalidValue, match="Judge, which returns SimpleNamespace'; allowed: tensors"):
        Networks({"judge": judge}, losses, {"x": torch.randn(16, 4)})
    with pytest.raises(InvalidValue, match="gradient: got 'SimpleNamespace'; allowed: tensors"):
        trained(judge.form, lambda output: output.scores)
