"""Peak memory of a simultaneous step, compared with the hand-written loop, each in its own process."""

from __future__ import annotations

import gc
import math
import multiprocessing
import resource
import sys
from collections.abc import Callable

import torch
from torch.profiler import ProfilerActivity, profile

from benchmarks import training_steps
from benchmarks.row import Row
from detente.games import presets

TARGET, STEPS = 1.1, 10


def run(quick: bool) -> list[Row]:
    """Return the peaks of live tensors and of the memory that the process adds during training."""
    rows = []
    for width in (32,) if quick else (32, 64):
        tensors, resident = {}, {}
        for name in ("loop", "ours"):
            with multiprocessing.get_context("spawn").Pool(1) as pool:
                tensors[name], resident[name] = pool.apply(_peaks, (name, width))
        for title, peaks, target in (
            ("peak of live tensors", tensors, TARGET),
            ("peak of resident memory above an idle process", resident, None),
        ):
            # The process may need less memory to train than it already used to import torch.
            ratio = peaks["ours"] / peaks["loop"] if peaks["loop"] else math.nan
            megabytes = {name: peak / 2**20 for name, peak in peaks.items()}
            rows.append(
                Row(
                    f"DCGAN-28, width {width}, simultaneous, eager: {title}", ratio, ratio, ratio, target=target,
                    detail=f"loop {megabytes['loop']:.0f} MiB, ours {megabytes['ours']:.0f} MiB",
                )
            )  # fmt: skip
    return rows


def _peaks(name: str, width: int) -> tuple[int, int]:
    """Return the peaks of live tensors, including optimizer and data, and of the process, in bytes."""
    torch.set_num_threads(1)
    game = presets.digits(width=width, batch=50)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    make_step = {"loop": training_steps.loop_step, "ours": training_steps.detente_steps}[name]
    steps = _ProfiledSteps(make_step, game)
    after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    scale = 1 if sys.platform == "darwin" else 1024
    return steps.peak(), (after - before) * scale


class _ProfiledSteps:
    """Training steps, and the peak of the allocations during one of them."""

    def __init__(self, make_step: Callable[..., Callable[[], None]], game: object) -> None:
        self.before = _tensor_bytes()  # the game with its data set, which both candidates hold
        self.step = make_step(game, "simultaneous")
        for _ in range(STEPS):
            self.step()

    def peak(self) -> int:
        """Return the peak during one more step, including state and optimizer."""
        return peak_of_allocations(self.step) + _tensor_bytes() - self.before


def peak_of_allocations(step: Callable[[], None]) -> int:
    """Return the largest number of bytes that a step holds at once, of those that it allocates itself."""
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as profiler:
        step()
    level = highest = 0
    for event in sorted(_allocations(profiler), key=lambda event: event.start_ns()):
        level += event.nbytes()
        highest = max(highest, level)
    return highest


def _allocations(profiler: profile) -> list:
    assert profiler.profiler is not None and profiler.profiler.kineto_results is not None
    events = profiler.profiler.kineto_results.events()
    return [event for event in events if event.name() == "[memory]"]


def _tensor_bytes() -> int:
    """Return the size of all tensors that Python holds in bytes, counting each storage once."""
    gc.collect()
    storages = {}
    for candidate in gc.get_objects():
        if issubclass(type(candidate), torch.Tensor):  # isinstance would trigger warnings of lazy objects
            storage = candidate.untyped_storage()
            storages[storage.data_ptr()] = storage.nbytes()
    return sum(storages.values())
