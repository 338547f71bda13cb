"""Wrong types are refused in one line, naming the argument, wherever a part of a training is made."""

# pyright: reportArgumentType=false

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import MISSING, fields, is_dataclass
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import detente
from detente import methods
from detente.arguments import fitting
from detente.balancing import Balancer
from detente.errors import InvalidValue
from detente.games.presets import ring
from detente.optimizers.adam import Adam
from detente.penalties.lazy import Lazy
from detente.penalties.r1 import R1
from detente.registry import members
from detente.schedules import Constant, Cosine, Linear
from detente.schedules.base import Schedule
from detente.training.run import Run

FOLDERS = ("schedules", "optimizers", "fields", "schemes", "objectives", "penalties", "filters", "metrics", "executors")


def networks(**settings: Any) -> detente.Networks:
    def losses(net: Any, batch: Any) -> dict[str, Any]:
        score = net.d(net.g(batch["x"])).mean()
        return {"g": -score, "d": score + net.d(batch["x"]).square().mean()}

    players = {"g": nn.Linear(3, 3), "d": nn.Linear(3, 1)}
    return detente.Networks(players, losses, {"x": torch.randn(16, 3)}, **{"batch": 4, **settings})


def gan(**settings: Any) -> detente.Adversarial:
    return detente.Adversarial(nn.Linear(2, 3), nn.Linear(3, 1), torch.randn(16, 3), **{"latent": 2, **settings})


@pytest.mark.parametrize(
    "kind", [kind for folder in FOLDERS for kind in members(folder).values() if is_dataclass(kind)]
)
def test_every_number_of_every_member_refuses_a_word(kind: type) -> None:
    required = {f.name for f in fields(kind) if f.default is MISSING and f.default_factory is MISSING}
    for field in fields(kind):
        plain = {part.strip() for part in str(field.type).split("|")} <= {"int", "float", "Schedule", "None"}
        if not plain or required - {field.name}:
            continue
        with pytest.raises(InvalidValue, match=rf"^{field.name}: got 'word'"):
            kind(**{field.name: "word"})


@pytest.mark.parametrize(
    ("make", "field"),
    [
        (lambda: Linear("a", 0.0, 5), "start"),
        (lambda: Constant(None), "value"),
        (lambda: Cosine(1.0, 0.0, 2.5), "steps"),
        (lambda: Lazy(R1(), True), "every"),
        (lambda: Lazy("r1"), "penalty"),
        (lambda: Balancer(["l1"]), "weights"),
        (lambda: methods.alternating(betas=0.5), "betas"),
        (lambda: methods.alternating(clip="1"), "norm"),
        (lambda: methods.alternating(discriminator_turns=1.5), "turns"),
        (lambda: gan(penalties=["r1"]), "penalties"),
        (lambda: gan(penalties=[R1]), "penalties"),
        (lambda: gan(filter="diff_augment"), "filter"),
        (lambda: gan(objective=5), "objective"),
        (lambda: gan(batch="8"), "batch"),
        (lambda: networks(batch=2.5), "batch"),
        (lambda: networks(frozen=[nn.Identity()]), "frozen"),
        (lambda: networks(memory={"m": 0.0}), "memory"),
        (lambda: networks(project={"g": 3}), "project"),
        (lambda: networks(sides=["g", "d"]), "sides"),
        (lambda: networks(show="samples"), "show"),
        (lambda: detente.Stepper(networks(), "alternating"), "method"),
        (lambda: detente.Stepper(methods.alternating(), networks()), "game"),
        (lambda: detente.Stepper(networks(), methods.alternating(), seed="a"), "seed"),
        (lambda: detente.Stepper(networks(), methods.alternating(), device="gpu"), "device"),
        (lambda: detente.Run(networks(), methods.alternating(), steps="many"), "steps"),
        (lambda: detente.Run(networks(), "alternating"), "method"),
    ],
)
def test_other_types_are_refused(make: Callable[[], Any], field: str) -> None:
    with pytest.raises(InvalidValue) as caught:
        make()
    assert caught.value.field == field and "\n" not in str(caught.value)


def test_a_class_in_the_place_of_an_object_is_explained() -> None:
    with pytest.raises(InvalidValue, match=r"make an object: R1\(…\)"):
        Lazy(R1)


def test_what_fits_is_unchanged_and_whole_numbers_become_integers() -> None:
    rate = torch.tensor(0.1)
    assert Adam(learning_rate=rate).learning_rate is rate and Adam(learning_rate=1).learning_rate == 1
    assert type(Cosine(1.0, 0.0, 1e4).steps) is int
    kinds = [
        (float | Schedule, Linear(0.0, 1.0, 2)),
        (Mapping[str, int], {"a": 1}),
        (Sequence[float], (0.5, 1)),
        (tuple[str, ...], ["a", "b"]),
        (Callable, math.sqrt),
        (Any, object()),
    ]
    assert all(fitting("x", kind, value) is value for kind, value in kinds)
    for kind, value in [
        (tuple[float, float], (1.0,)),
        (Sequence[str], "ab"),
        (int, math.inf),
        (Mapping[str, int], {"a": "b"}),
    ]:
        with pytest.raises(InvalidValue):
            fitting("x", kind, value)


def test_vectors_and_devices_are_arguments_as_before() -> None:
    game, method = ring(), methods.simultaneous()
    assert [*Run(game, method, seeds=np.arange(2)).seeds] == [0, 1]
    assert Run(game, method, device=torch.device("cpu")).device == torch.device("cpu")
    assert len(Run(game, method, metrics="coverage").metrics) == 1
    frozen = nn.ModuleDict({"features": nn.Linear(2, 2)})
    assert fitting("frozen", Mapping[str, Any] | None, frozen) is frozen
    methods.alternating(betas=torch.tensor([0.5, 0.9]))
    with pytest.raises(InvalidValue, match="seeds"):
        Run(game, method, seeds=np.arange(4).reshape(2, 2))
