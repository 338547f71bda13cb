"""Peak memory of a simultaneous step beside the hand-written loop's, each in a process of its own."""

from __future__ import annotations

import gc
import multiprocessing
import resource
import sys
from collections.abc import Callable

import torch
from torch.profiler import ProfilerActivity, profile

from benchmarks import contest
from benchmarks.row import Row
from detente.games import presets

TARGET, STEPS = 1.1, 10


def run(quick: bool) -> list[Row]:
    """Return the peak of all live tensors, and of the process's memory above what it needs before training."""
    rows = []
    for width in (32,) if quick else (32, 64):
        tensors, resident = {}, {}
        for name in ("loop", "ours"):
            with multiprocessing.get_context("spawn").Pool(1) as pool:
                tensors[name], resident[name] = pool.apply(_peaks, (name, width))
        for what, peaks, target in (
            ("peak of live tensors", tensors, TARGET),
            ("peak of resident memory above an idle process", resident, None),
        ):
            ratio = peaks["ours"] / peaks["loop"]
            megabytes = {name: peak / 2**20 for name, peak in peaks.items()}
            rows.append(
                Row(
                    f"DCGAN-28, width {width}, simultaneous, eager: {what}", ratio, ratio, ratio, target=target,
                    detail=f"loop {megabytes['loop']:.0f} MiB, ours {megabytes['ours']:.0f} MiB",
                )
            )  # fmt: skip
    return rows


def _peaks(name: str, width: int) -> tuple[int, int]:
    """Return the peaks over some steps, in bytes: of live tensors, optimizer and data included, and of the process."""
    torch.set_num_threads(1)
    game = presets.digits(width=width, batch=50)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    live = _Live(getattr(contest, name), game)
    after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    scale = 1 if sys.platform == "darwin" else 1024
    return live.peak(), (after - before) * scale


class _Live:
    """Training steps, and the allocations of one of them, added up in the order in which they were made."""

    def __init__(self, make: Callable[..., Callable[[], None]], game: object) -> None:
        self.before = _alive()  # the game with its data set, which both ways hold
        self.step = make(game, "simultaneous")
        for _ in range(STEPS):
            self.step()

    def peak(self) -> int:
        """Return the peak of one more step above what is alive before it, plus that: state and optimizer."""
        with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as profiler:
            self.step()
        level = highest = 0
        for event in sorted(_allocations(profiler), key=lambda event: event.start_ns()):
            level += event.nbytes()
            highest = max(highest, level)
        return highest + _alive() - self.before


def _allocations(profiler: profile) -> list:
    assert profiler.profiler is not None and profiler.profiler.kineto_results is not None
    events = profiler.profiler.kineto_results.events()
    return [event for event in events if event.name() == "[memory]"]


def _alive() -> int:
    """Return the bytes of all tensors that Python holds, each storage once."""
    gc.collect()
    storages = {}
    for thing in gc.get_objects():
        if issubclass(type(thing), torch.Tensor):  # isinstance would touch lazy objects, and they warn
            storage = thing.untyped_storage()
            storages[storage.data_ptr()] = storage.nbytes()
    return sum(storages.values())
