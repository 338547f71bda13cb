"""Every method on two ranks equals itself in one process, and sends as few messages as it can."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

import pytest

from detente import methods
from detente.games.presets.points import ring
from detente.methods.method import Method
from detente.schemes.averaging import Averaging
from tests.ranks.job import Case, Result, assert_equal

MESSAGES = {"simultaneous": 1, "alternating": 2, "consensus": 2, "extragradient": 2}


def cases() -> dict[str, Case]:
    result = {}
    for name, build in methods.names().items():
        settings = {"batch": 24, "width": 8, "depth": 2, **build.registration.ring}
        if "points" in settings:
            settings["points"], settings["batch"] = 60, 24  # the last of three batches has 12 points
        result[name] = Case(partial(ring, **settings), build)
    ring_of = partial(ring, batch=24, width=8, depth=2)
    for name in ("sgan", "simplified_sgan"):
        result[f"{name} of 4 pairs"] = Case(ring_of, partial(methods.names()[name], pairs=4))
    result["averaged sgan of 4 pairs"] = Case(ring_of, averaged_pairs)
    return result


def averaged_pairs() -> Method:
    method = methods.names()["sgan"](pairs=4)
    return replace(method, scheme=Averaging(method.scheme))


@pytest.mark.parametrize("name", methods.names())
def test_two_ranks_equal_one_process(name: str, results: dict[str, Result]) -> None:
    assert_equal(results[name])


@pytest.mark.parametrize("name", MESSAGES)
def test_each_summed_field_needs_one_message(name: str, results: dict[str, Result]) -> None:
    assert results[name]["messages"] == MESSAGES[name]


@pytest.mark.parametrize("name", [name for name in cases() if "pairs" in name])
def test_sgan_with_pairs_divided_among_ranks_is_bitwise_equal(name: str, results: dict[str, Result]) -> None:
    result = results[name]
    assert_equal(result)
    assert result["pairs"] and result["messages"] == 1
