"""Ray: a worker that is killed is replaced, and every cell is bitwise equal to an uninterrupted run."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from detente.comparison.grid import carry_out_grid, last_state
from detente.errors import InvalidValue
from detente.executors.here import Here
from detente.executors.ray import Ray, _require_shared
from tests.executors import tasks
from tests.training.small_runs import assert_same_bits, lines, saved

ray: Any = pytest.importorskip("ray")

pytestmark = pytest.mark.filterwarnings("default")  # Ray's own


def test_results_after_a_killed_worker_are_bitwise_equal(tmp_path: Path) -> None:
    runs = [tasks.run(0.1, metrics=(tasks.DiesOnce(str(tmp_path / "reached")),)), tasks.run(0.2)]
    with Ray(workers=2).open(tmp_path):  # starts Ray, which the grid uses
        states = last_state(carry_out_grid(tasks.cells(tmp_path / "grid", *runs), Ray(), tmp_path))
        token = tmp_path / "token"
        token.write_text("one")
        _require_shared(ray, token)
        with pytest.raises(InvalidValue, match="a folder that every node of the cluster sees.*Not seen by"):
            _require_shared(ray, _Elsewhere(token))
        with pytest.raises(InvalidValue, match="gpus: got 9.*at most what the cluster has: 2 CPUs, 0 GPUs"):
            Ray(gpus=9).open(tmp_path)
    assert not ray.is_initialized() and not (tmp_path / ".ray-token").exists()
    assert {name: state.error for name, state in states.items()} == {"cell0": "", "cell1": ""}
    assert (tmp_path / "reached").exists()
    last_state(carry_out_grid(tasks.cells(tmp_path / "here", *runs), Here(), tmp_path))
    for cell in ("cell0", "cell1"):
        assert_same_bits(saved(tmp_path / "grid" / cell), saved(tmp_path / "here" / cell))
        assert lines(tmp_path / "grid" / cell) == lines(tmp_path / "here" / cell)


class _Elsewhere(type(Path())):
    """A path whose content differs on this machine from that on the nodes."""

    def read_text(self, *args: Any, **settings: Any) -> str:
        return "other"


def test_an_unreachable_address_gives_a_one_line_error(tmp_path: Path) -> None:
    with pytest.raises(InvalidValue) as caught:
        Ray(address="127.0.0.1:9").open(tmp_path)
    assert caught.value.field == "address" and "ray start --head" in str(caught.value)
