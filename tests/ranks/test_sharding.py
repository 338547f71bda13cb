"""Optimizers whose memory is divided among ranks make the same moves, to the bit."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

import pytest
import torch

from detente import methods
from detente.errors import InvalidValue
from detente.games.presets.points import ring
from detente.methods import sharding
from detente.methods.method import Method
from detente.optimizers.adam import Adam
from detente.optimizers.base import Optimizer
from detente.optimizers.clipped_gradient import ClippedGradient
from detente.ranks import Ranks, together
from detente.registry import members
from tests.ranks.job import Case, Result, train

ALONE = sorted(name for name, member in members("optimizers").items() if member.elementwise)  # type: ignore[attr-defined]
OF_METHODS: dict[str, dict[str, Any]] = {
    "extragradient": {},
    "consensus": {},
    "averaged": {},
    "lookahead": {"every": 2},
    "nested_lookahead": {"every": 2, "nested_every": 4},
}
DEPENDENT = ("sgnht", "ccadl", "langevin")  # on a mean over the parameters, or a matrix


def compared(build: Callable[[], Method], ranks: Ranks) -> Result:
    """Train with whole and with divided memory; ring's networks have 154 and 33 parameters in parts of 128 and 64."""
    case = Case(partial(ring, batch=8, width=8, depth=1), build, steps=5, dtype=torch.float32)
    whole, divided = train(case, ranks), train(case, replace(ranks, shard=True))
    return {
        "equal": all(
            torch.equal(tensor, whole.last[0].flat()[name]) for name, tensor in divided.last[0].flat().items()
        ),
        f"held{ranks.rank}": {name: size for name, size in divided.held.items() if name.startswith("memory/")},
        "messages": divided.messages - whole.messages,
    }


def with_optimizer(optimizer: Optimizer) -> Method:
    return replace(methods.names()["alternating"](), optimizer=optimizer)


def functions() -> dict[str, Callable[[Ranks], Result]]:
    found: dict[str, Callable[[Ranks], Result]] = {}
    for name in ALONE:
        optimizer = members("optimizers")[name]()
        found[name] = partial(compared, partial(with_optimizer, optimizer))
    found["clipped"] = partial(compared, partial(with_optimizer, ClippedGradient(Adam(), norm=0.1)))
    for name, settings in OF_METHODS.items():
        found[name] = partial(compared, partial(methods.names()[name], **settings))
    return found


@pytest.mark.parametrize("name", [*ALONE, "clipped", *OF_METHODS])
def test_divided_memory_gives_the_same_bits(name: str, results: dict[str, Result]) -> None:
    result = results[name]
    assert result.get("equal"), result


def held(result: Result, name: str) -> list[int]:
    """Return how many numbers of a tensor each rank holds."""
    return [result[f"held{rank}"][f"memory/{name}"] for rank in range(2)]


def test_each_rank_holds_its_part(results: dict[str, Result]) -> None:
    for name in ("square", "mean"):
        assert held(results["adam"], f"optimizers/generator/{name}") == [128, 26]
    assert held(results["averaged"], "scheme/vectors/generator") == [128, 26]
    for copy in ("slow", "slower"):
        assert held(results["nested_lookahead"], f"scheme/{copy}/generator") == [128, 26]
        assert held(results["nested_lookahead"], f"scheme/{copy}/discriminator") == [33, 0]
    assert results["adam"]["messages"] == 2  # a gather for each player's move
    assert results["averaged"]["messages"] == 2  # none for the average
    assert results["lookahead"]["messages"] == 2  # the slow weights are not moved in step 5


@pytest.mark.parametrize("name", DEPENDENT)
def test_optimizers_whose_numbers_depend_on_each_other_are_refused(name: str) -> None:
    with pytest.raises(InvalidValue, match="shard: got True"):
        sharding.sharded(members("optimizers")[name](), Ranks(0, 2))


def test_sgan_is_refused() -> None:
    game = ring(batch=8, width=4, depth=1)
    with together(Ranks(0, 2, shard=True)), pytest.raises(InvalidValue, match="whose pairs are divided"):
        methods.names()["sgan"]().check(game)
