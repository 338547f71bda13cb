"""Optimizers whose memory is sharded among ranks give bitwise equal results."""

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
from detente.optimizers.reduce_on_plateau import ReduceOnPlateau
from detente.ranks import Ranks, together
from detente.registry import members
from detente.schemes.alternating import Alternating
from tests.ranks.job import Case, Result, train

ALONE = sorted(name for name, member in members("optimizers").items() if member.elementwise is True)  # type: ignore[attr-defined]
DEPENDENT = ("sgnht", "ccadl", "langevin")  # on a mean over the parameters, or a matrix
REFUSED = (*DEPENDENT, "covariance_langevin", "sgan", "simplified_sgan", "weight_shared_sgan")
METHODS = [name for name in methods.names() if name not in REFUSED]
OF_ONE_PROCESS = ("adaptive_competitive", "nested_lookahead", "past_extragradient", "svre_restarted", "unrolled")
SETTINGS: dict[str, dict[str, Any]] = {
    "lookahead": {"every": 2},
    "nested_lookahead": {"every": 2, "nested_every": 4},
    "svre_restarted": {"probability": 1.0},
    "unrolled": {"steps": 2},
}


def replaced(name: str, **settings: Any) -> Method:
    method = methods.names()[name]()
    field: Any = method.field
    return replace(method, field=replace(field, **settings))


def until_short() -> Method:
    method = methods.names()["accept_reject"]()
    scheme: Any = method.scheme
    return replace(method, scheme=replace(scheme, tolerance=0.01, ascent_steps=3))


VARIANTS: dict[str, Callable[[], Method]] = {
    "follow_the_ridge with a preconditioner": lambda: replaced("follow_the_ridge", decay=0.9),
    "follow_the_ridge in turns": lambda: replace(replaced("follow_the_ridge", decay=0.9), scheme=Alternating()),
    "unrolled in turns": lambda: replace(methods.names()["unrolled"](), scheme=Alternating()),
    "accept_reject until the ascent is short": until_short,
    "clipped gradient": lambda: with_optimizer(ClippedGradient(Adam(), norm=0.1)),
    "clipped gradient of extragradient": lambda: replace(
        methods.names()["extragradient"](), optimizer=ClippedGradient(Adam(), norm=0.1, value=0.01)
    ),
    "on a plateau": lambda: with_optimizer(ReduceOnPlateau(Adam(), metric="kl")),
}


def compared(build: Callable[[], Method], ranks: Ranks, **settings: Any) -> Result:
    """Train with whole and with divided memory; ring's networks have 154 and 33 parameters in parts of 128 and 64."""
    case = Case(partial(ring, **{"batch": 8, "width": 8, "depth": 1, **settings}), build, steps=5, dtype=torch.float32)
    whole, divided = train(case, ranks), train(case, replace(ranks, shard=True))
    expected = whole.last[0].flat()
    return {
        "different": [
            name for name, tensor in divided.last[0].flat().items() if not torch.equal(tensor, expected[name])
        ],
        f"held{ranks.rank}": {name: size for name, size in divided.held.items() if name.startswith("memory/")},
        "vectors": {name: len(t) for name, t in expected.items() if name.startswith("memory/") and t.dim() == 1},
        f"loose{ranks.rank}": [name for name, size in divided.sizes.items() if size > 4 * max(divided.held[name], 2)],
        "messages": divided.messages - whole.messages,
    }


def with_optimizer(optimizer: Optimizer) -> Method:
    return replace(methods.names()["alternating"](), optimizer=optimizer)


def functions() -> dict[str, Callable[[Ranks], Result]]:
    result: dict[str, Callable[[Ranks], Result]] = {}
    for name in ALONE:
        result[name] = partial(compared, partial(with_optimizer, members("optimizers")[name]()))
    for name in METHODS:
        build, settings = methods.names()[name], dict(methods.names()[name].registration.ring)
        if "points" in settings:
            settings |= {"points": 20, "batch": 8}  # the last of three batches has 4 points
        result[f"method {name}"] = partial(compared, partial(build, **SETTINGS.get(name, {})), **settings)
    for name, build in VARIANTS.items():
        result[name] = partial(compared, build, **({"objective": "minimax"} if "ridge" in name else {}))
    result["from one process"] = from_one_process
    return result


def from_one_process(ranks: Ranks) -> Result:
    """Divide the states of one process, as at the start of a run, and put them together again."""
    divided = replace(ranks, shard=True)
    different = []
    for name in OF_ONE_PROCESS:
        build = methods.names()[name]
        settings = {"batch": 8, "width": 8, "depth": 1, **build.registration.ring}
        game, method = ring(**settings), build()
        whole = method.initial(game, torch.Generator().manual_seed(0))
        with together(divided):
            expected_part = method.initial(game, torch.Generator().manual_seed(0)).flat()
        part = method.state_of_rank(whole, divided)
        again = method.whole_state(part, divided).flat()
        if not all(torch.equal(tensor, expected_part[key]) for key, tensor in part.flat().items()):
            different.append(f"part of {name}")
        if not all(torch.equal(tensor, again[key]) for key, tensor in whole.flat().items()):
            different.append(name)
    return {"different": different}


@pytest.mark.parametrize("name", functions())
def test_sharded_memory_gives_bitwise_equal_results(name: str, results: dict[str, Result]) -> None:
    assert results[name].get("different") == [], results[name]


@pytest.mark.parametrize("name", [name for name in functions() if name != "from one process"])
def test_every_vector_in_memory_is_divided_without_spare_storage(name: str, results: dict[str, Result]) -> None:
    result = results[name]
    for vector, size in result["vectors"].items():
        assert result["held0"][vector] == min(64 * -(-size // 128), size), vector
        assert result["held0"][vector] + result["held1"][vector] == size, vector
    for rank in range(2):
        assert not [vector for vector in result[f"loose{rank}"] if vector in result["vectors"]]


def held(result: Result, name: str) -> list[int]:
    """Return how many numbers of a tensor each rank holds."""
    return [result[f"held{rank}"][f"memory/{name}"] for rank in range(2)]


def test_each_rank_holds_its_part_of_the_memory(results: dict[str, Result]) -> None:
    for name in ("square", "mean"):
        assert held(results["adam"], f"optimizers/generator/{name}") == [128, 26]
    assert held(results["method averaged"], "scheme/vectors/generator") == [128, 26]
    for copy in ("slow", "slower"):
        assert held(results["method nested_lookahead"], f"scheme/{copy}/generator") == [128, 26]
        assert held(results["method nested_lookahead"], f"scheme/{copy}/discriminator") == [33, 0]
    assert held(results["method svrg"], "field/snapshot/generator") == [128, 26]
    assert held(results["method past_extragradient"], "scheme/optimizers/generator/mean") == [128, 26]


@pytest.mark.parametrize(("name", "messages"), [("adam", 3), ("method averaged", 3), ("method lookahead", 3)])
def test_number_of_messages_with_sharded_memory(name: str, messages: int, results: dict[str, Result]) -> None:
    """A gather for each player's move, and one of norms; lookahead does not move its slow weights in step 5."""
    assert results[name]["messages"] == messages


@pytest.mark.parametrize("name", DEPENDENT)
def test_optimizers_whose_numbers_depend_on_each_other_are_refused(name: str) -> None:
    with pytest.raises(InvalidValue, match="shard: got True"):
        sharding.sharded(members("optimizers")[name](), Ranks(0, 2))


def test_sgan_is_refused() -> None:
    game = ring(batch=8, width=4, depth=1)
    with together(Ranks(0, 2, shard=True)), pytest.raises(InvalidValue, match="whose pairs are divided"):
        methods.names()["sgan"]().check(game)
