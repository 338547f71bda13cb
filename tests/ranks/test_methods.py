"""Every method on two ranks equals itself in one process, and sends as few messages as it can."""

from __future__ import annotations

from functools import partial

import pytest
import torch

from detente import methods
from detente.games.presets.points import ring
from tests.ranks.job import Case, assert_equal, trained

MESSAGES = {"simultaneous": 1, "alternating": 2, "consensus": 2, "extragradient": 2}


def cases() -> dict[str, Case]:
    found = {}
    for name, build in methods.names().items():
        settings = {"batch": 24, "width": 8, "depth": 2, **build.registration.ring}
        if "points" in settings:
            settings["points"], settings["batch"] = 60, 24  # the last of three batches has 12 points
        found[name] = Case(partial(ring, **settings), build)
    return found


@pytest.mark.parametrize("name", methods.names())
def test_two_ranks_equal_one_process(name: str) -> None:
    assert_equal(trained(__name__)[name])


@pytest.mark.parametrize("name", MESSAGES)
def test_each_summed_field_is_one_message(name: str) -> None:
    assert trained(__name__)[name]["messages"] == MESSAGES[name]
