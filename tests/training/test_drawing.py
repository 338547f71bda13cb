"""Batches from a set on disk are drawn ahead for a graphics processor, which nobody can tell but by the time."""

from __future__ import annotations

import threading
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from detente import methods
from detente.data.arrays import Arrays
from detente.game import Batch
from detente.games.adversarial import Adversarial
from detente.training import drawing
from detente.training.loop import train
from detente.training.run import Run
from tests.training.small_runs import EVERY, assert_same_bits, carried, discriminator, generator, last, record, saved
from tests.training.test_loop import PLAIN


@pytest.fixture(autouse=True)
def as_for_a_device(monkeypatch: pytest.MonkeyPatch) -> None:
    """Runs here train on the processor, but draw as if they did not."""
    asked = drawing.prefetch_pays

    class Elsewhere:
        def __init__(self, run: Run) -> None:
            self.game, self.device = run.game, "cuda"

    monkeypatch.setattr(drawing, "prefetch_pays", lambda run: asked(Elsewhere(run)))  # type: ignore[arg-type]


class Watched(Adversarial):
    """Tells in which threads its batches are drawn, and can fail in one."""

    def __init__(self, data: Arrays, fails_at: int = 10**9, **settings: object) -> None:
        super().__init__(generator, discriminator, data, latent=3, batch=4, **settings)  # type: ignore[arg-type]
        self.threads: list[str] = []
        self.fails_at = fails_at

    def draw(self, generator: torch.Generator) -> Batch:
        self.threads.append(threading.current_thread().name)
        if len(self.threads) == self.fails_at:
            raise OSError("the disk is gone")
        return super().draw(generator)


@pytest.fixture
def points(tmp_path: Path) -> tuple[Arrays, Arrays]:
    """The same points on disk and in memory."""
    array = np.random.default_rng(0).standard_normal((40, 2)).astype(np.float32)
    np.save(tmp_path / "points.npy", array)
    return Arrays(tmp_path / "points.npy"), Arrays(torch.from_numpy(array))


def run(data: Arrays, seeds: tuple[int, ...] = (0, 3)) -> Run:
    return Run(Watched(data), PLAIN, 20, seeds, **EVERY, compile="off")


def threads(run: Run) -> set[str]:
    assert isinstance(run.game, Watched)
    return {name.partition("_")[0] for name in run.game.threads}


def test_on_a_processor_there_is_nothing_to_gain(
    points: tuple[Arrays, Arrays], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.undo()
    disk = run(points[0])
    assert not drawing.prefetch_pays(disk)
    last(disk)
    assert threads(disk) == {"MainThread"}


def test_a_set_on_disk_is_drawn_ahead_and_trains_the_same(points: tuple[Arrays, Arrays]) -> None:
    disk, memory = map(run, points)
    assert drawing.prefetch_pays(disk) and not drawing.prefetch_pays(memory)
    ends = [list(train(one))[-1].progress for one in (disk, memory)]
    assert_same_bits(*map(carried, ends))
    assert "detente-drawing" in threads(disk) and threads(memory) == {"MainThread"}


@pytest.mark.parametrize("cut", [1, 2, 3])
def test_every_tick_tells_the_generator_before_what_was_drawn_ahead(points: tuple[Arrays, Arrays], cut: int) -> None:
    disk = run(points[0])
    ticks = list(train(disk))
    assert_same_bits(last(disk, ticks[cut].progress), carried(ticks[-1].progress))


def test_taken_up_again_from_its_directory(points: tuple[Arrays, Arrays], tmp_path: Path) -> None:
    disk = run(points[0])
    record(disk, tmp_path / "whole")
    record(replace(disk, steps=10), tmp_path / "half")
    record(disk, tmp_path / "half", resume=True)
    assert_same_bits(saved(tmp_path / "half"), saved(tmp_path / "whole"))


def test_chunks_of_several_steps_are_drawn_ahead_too(
    points: tuple[Arrays, Arrays], monkeypatch: pytest.MonkeyPatch
) -> None:
    from detente.training import execution

    monkeypatch.setattr(execution, "WORTH_A_CHUNK", 8)
    monkeypatch.setattr("detente.training.inductor.compile_graph", lambda graph, example: graph)
    disk, memory = (replace(run(data, (3,)), compile="on", steps=12) for data in points)
    assert execution.choose_execution(disk).steps.chunk == 5
    assert_same_bits(last(disk), last(memory))


def test_fields_that_look_at_the_whole_set_draw_in_turn(points: tuple[Arrays, Arrays]) -> None:
    """They may decide by chance, from the same generator, before a step's batch is drawn."""
    method = methods.svre(learning_rate=0.01)
    ends = []
    for data in points:
        game = Watched(data, fixed_latents=True)
        ends.append(last(Run(game, method, 20, (0,), **EVERY, compile="off")))
        assert set(game.threads) == {"MainThread"}
    assert_same_bits(*ends)


def test_a_disk_that_fails_is_heard_of_and_no_thread_stays(points: tuple[Arrays, Arrays]) -> None:
    before = threading.active_count()
    game = Watched(points[0])
    game.threads, game.fails_at = [], 6
    with pytest.raises(OSError, match="the disk is gone"):
        list(train(Run(game, PLAIN, 20, **EVERY, compile="off")))
    assert threading.active_count() == before
    ticks = train(replace(run(points[0]), record_every=1))
    for _ in range(3):
        next(ticks)
    ticks.close()  # type: ignore[attr-defined]
    assert threading.active_count() == before
