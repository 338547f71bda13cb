"""Batches from a set on disk are prefetched for a GPU, without any change of the results."""

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
    """Let runs on the CPU prefetch batches as runs on a GPU do."""
    original = drawing.prefetch_pays

    class RunOnGPU:
        def __init__(self, run: Run) -> None:
            self.game, self.device = run.game, "cuda"

    monkeypatch.setattr(drawing, "prefetch_pays", lambda run: original(RunOnGPU(run)))  # type: ignore[arg-type]


class Watched(Adversarial):
    """Records the threads in which its batches are drawn, and can fail in one."""

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


def test_batches_are_not_prefetched_on_a_cpu(points: tuple[Arrays, Arrays], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    disk = run(points[0])
    assert not drawing.prefetch_pays(disk)
    last(disk)
    assert threads(disk) == {"MainThread"}


def test_prefetching_a_set_on_disk_does_not_change_the_training(points: tuple[Arrays, Arrays]) -> None:
    disk, memory = map(run, points)
    assert drawing.prefetch_pays(disk) and not drawing.prefetch_pays(memory)
    final = [list(train(variant))[-1].progress for variant in (disk, memory)]
    assert_same_bits(*map(carried, final))
    assert "detente-drawing" in threads(disk) and threads(memory) == {"MainThread"}


@pytest.mark.parametrize("cut", [1, 2, 3])
def test_ticks_hold_the_generator_state_before_prefetched_batches(points: tuple[Arrays, Arrays], cut: int) -> None:
    disk = run(points[0])
    ticks = list(train(disk))
    assert_same_bits(last(disk, ticks[cut].progress), carried(ticks[-1].progress))


def test_a_run_with_prefetching_is_resumed_exactly(points: tuple[Arrays, Arrays], tmp_path: Path) -> None:
    disk = run(points[0])
    record(disk, tmp_path / "whole")
    record(replace(disk, steps=10), tmp_path / "half")
    record(disk, tmp_path / "half", resume=True)
    assert_same_bits(saved(tmp_path / "half"), saved(tmp_path / "whole"))


def test_chunks_of_several_steps_are_prefetched(points: tuple[Arrays, Arrays], monkeypatch: pytest.MonkeyPatch) -> None:
    from detente.training import execution

    monkeypatch.setattr(execution, "WORTH_A_CHUNK", 8)
    monkeypatch.setattr("detente.training.inductor.compile_graph", lambda graph, example: graph)
    disk, memory = (replace(run(data, (3,)), compile="on", steps=12) for data in points)
    assert execution.choose_execution(disk).steps.chunk == 5
    assert_same_bits(last(disk), last(memory))


def test_fields_that_use_the_whole_set_are_not_prefetched(points: tuple[Arrays, Arrays]) -> None:
    """They may draw from the same generator before a step's batch is drawn."""
    method = methods.svre(learning_rate=0.01)
    final = []
    for data in points:
        game = Watched(data, fixed_latents=True)
        final.append(last(Run(game, method, 20, (0,), **EVERY, compile="off")))
        assert set(game.threads) == {"MainThread"}
    assert_same_bits(*final)


def test_a_failing_disk_raises_and_leaves_no_thread(points: tuple[Arrays, Arrays]) -> None:
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
