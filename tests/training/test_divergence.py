"""Why a seed diverged: the first term that is not finite and its layer; and runs of games of networks."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from detente import methods
from detente.games.networks import Networks
from detente.training.loop import Tick, train
from detente.training.run import Run
from detente.training.run_directory.record import train_into

X = torch.linspace(-1, 1, 32).view(8, 4)


class Bad(nn.Module):
    """Returns its input, and infinities after some calls."""

    calls: Tensor

    def __init__(self, after: int) -> None:
        super().__init__()
        self.after, self.gain = after, nn.Parameter(torch.ones(()))
        self.register_buffer("calls", torch.zeros(()))

    def forward(self, x: Tensor) -> Tensor:
        if self.training:
            self.calls += 1
        return self.gain * x / (self.calls <= self.after)


class Model(nn.Module):
    def __init__(self, after: int) -> None:
        super().__init__()
        self.encoder = nn.Linear(4, 3)
        self.decoder = nn.Sequential(nn.Tanh(), Bad(after), nn.Linear(3, 4))

    def forward(self, x: Tensor) -> Tensor:
        return self.decoder(self.encoder(x))


def game(data: Any, after: int = 10**6, log_until: int = 10**6, kink_at: int = 10**6) -> Networks:
    def losses(net: Any, batch: Any, t: Tensor) -> dict[str, Any]:
        (x,) = batch
        y = net.model(x)
        score = net.judge(y)
        kink = torch.where(t >= kink_at, 0.0, 1.0) * y.square().sum()
        return {
            "model": {
                "near": (y - x).square().mean(),
                "log": (1.0 * (t < log_until) - 0.5 + 0 * y.mean()).log(),
                "root": kink.sqrt(),
                "fool": -score.mean(),
            },
            "judge": lambda: score.square().mean(),
        }

    return Networks({"model": lambda: Model(after), "judge": lambda: nn.Linear(4, 1)}, losses, data, batch=4)


def causes(game: Networks, **options: Any) -> list[tuple[int | None, str]]:
    run = Run(game, methods.alternating(), steps=20, record_every=4, **options)
    ticks: list[Tick] = list(train(run))
    return [(entry.diverged_at, entry.cause) for entry in ticks[-1].progress]


LOADER = DataLoader(TensorDataset(X), batch_size=4, shuffle=True)


@pytest.mark.parametrize("data", [(X,), LOADER], ids=["tensors", "loader"])
def test_the_first_term_that_is_not_finite_is_named_and_its_layer(data: Any) -> None:
    # Two calls of the model a step: the judge's turn of step 7 makes the 13th.
    assert causes(game(data, after=13)) == [(7, "model.near is nan; first in layer model.decoder.1")]
    assert causes(game(data, log_until=6)) == [(7, "model.log is nan; the output of every layer is finite")]
    assert causes(game(data, kink_at=5)) == [(6, "the gradient of model is nan; the output of every layer is finite")]
    assert causes(game(data)) == [(None, "")]


def test_each_seed_has_its_own_cause_which_may_be_a_batch() -> None:
    assert causes(game((X,), after=13), seeds=(0, 1)) == 2 * [(7, "model.near is nan; first in layer model.decoder.1")]
    rows = X.clone()
    rows[3] = torch.nan
    assert [cause for _, cause in causes(game((rows,)))] == ["judge is nan; the batch's 0 is not finite"]


def test_a_step_on_a_batch_of_an_iterator_is_not_repeated() -> None:
    def batches() -> Iterator[tuple[Tensor]]:
        while True:
            yield (X,)

    assert causes(game(batches(), after=13)) == [(7, "model.near is nan")]


class Stateful:
    """A loader with the interface of torchdata's `StatefulDataLoader`."""

    def __init__(self) -> None:
        self.at = 0

    def __iter__(self) -> Iterator[tuple[Tensor]]:
        while self.at < 8:
            self.at += 1
            yield (X[self.at - 1 :],)
        self.at = 0

    def state_dict(self) -> dict[str, int]:
        return {"at": self.at}

    def load_state_dict(self, state: dict[str, int]) -> None:
        self.at = state["at"]


def lines(directory: Path) -> list[dict[str, Any]]:
    text = (directory / "metrics.jsonl").read_text(encoding="utf-8")
    measured = [json.loads(line) for line in text.splitlines()]
    return [{key: line[key] for key in ("step", "seed", "losses", "terms") if key in line} for line in measured]


@pytest.mark.parametrize("kind", ["tensors", "stateful"])
def test_a_resumed_run_of_networks_equals_an_uninterrupted_one(kind: str, tmp_path: Path) -> None:
    data = {"tensors": (X,), "stateful": Stateful()}[kind]

    def run(steps: int) -> Run:
        return Run(game(data), methods.alternating(), steps=steps, record_every=3, seeds=(0, 1))

    for name, steps in (("whole", 12), ("parts", 6), ("parts", 12)):
        list(train_into(run(steps), tmp_path / name, {}, resume=steps == 12 and name == "parts"))
    assert lines(tmp_path / "whole") == lines(tmp_path / "parts")
    assert list(lines(tmp_path / "whole")[-1]["terms"]) == ["model.near", "model.log", "model.root", "model.fool"]


def test_a_warning_says_that_the_order_of_a_loader_is_not_restored(tmp_path: Path) -> None:
    run = Run(game(LOADER), methods.alternating(), steps=4, record_every=2)
    list(train_into(run, tmp_path / "run", {}))
    with pytest.warns(UserWarning, match="order of the data is not restored") as caught:
        list(train_into(Run(game(LOADER), methods.alternating(), steps=8, record_every=2), tmp_path / "run", {}, True))
    assert len(caught) == 1


def test_the_cause_is_in_the_status_and_survives_resuming(tmp_path: Path) -> None:
    def run(steps: int) -> Run:
        return Run(game((X,), after=13), methods.alternating(), steps=steps, record_every=4)

    list(train_into(run(12), tmp_path / "run", {}))
    status = json.loads((tmp_path / "run" / "status.json").read_text(encoding="utf-8"))["seeds"]["0"]
    assert status["diverged_at"] == 7 and status["cause"] == "model.near is nan; first in layer model.decoder.1"


def test_loss_terms_may_start_within_an_interval() -> None:
    def losses(net: Any, batch: Any, t: Tensor) -> dict[str, Any]:
        y = net.model(batch[0])
        late = {"late": 3 + 0 * y.mean()} if t >= 2 else {}
        return {"model": {"near": (y - batch[0]).square().mean(), **late}}

    game = Networks({"model": nn.Linear(4, 4)}, losses, (X,), batch=4)
    ticks = list(train(Run(game, methods.simultaneous(), steps=4, record_every=4)))
    assert float(ticks[-1].infos[0].terms["model"]["late"]) == 3
