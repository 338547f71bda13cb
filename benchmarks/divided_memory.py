"""The table of memory and messages in docs/scaling.md: `python -m benchmarks.divided_memory`.

Every rank counts the numbers in its state other than the parameters, and those that it sends in a step.
"""

from __future__ import annotations

import os
import tempfile
from dataclasses import replace
from pathlib import Path

import torch
import torch.distributed as dist
import torch.multiprocessing as multiprocessing

from detente import methods
from detente.checks.switch import off
from detente.games.presets.points import ring
from detente.methods.method import Method
from detente.optimizers.adam import Adam
from detente.ranks import Ranks, counting_messages, together
from detente.state import flatten
from detente.training.step import Steps, draw

COUNTS, STEPS, BATCH = (2, 4), 10, 24
SETTINGS = {"width": 256, "depth": 2, "batch": BATCH}
METHODS = {
    "alternating": {},
    "simultaneous": {"optimizer": Adam()},
    "extragradient": {},
    "past_extragradient": {},
    "optimistic_adam": {},
    "averaged": {},
    "lookahead": {},
    "nested_lookahead": {},
    "consensus": {},
    "symplectic_adjustment": {},
    "unrolled": {},
    "competitive": {},
    "adaptive_competitive": {},
    "follow_the_ridge": {},
    "svrg": {},
    "svre_restarted": {},
}


def main() -> None:
    """Print the table."""
    measurements: dict[str, dict[tuple[int, bool], tuple[float, float, float]]] = {name: {} for name in METHODS}
    for count in COUNTS:
        with tempfile.TemporaryDirectory() as folder:
            multiprocessing.spawn(_work, (folder, count), count)  # pyright: ignore[reportPrivateImportUsage]
            for (name, shard), numbers in torch.load(Path(folder) / "numbers.pt").items():
                measurements[name][count, shard] = numbers
    print("| method | memory | 2 ranks | 4 ranks | sent | 2 ranks | 4 ranks | messages |")
    print("| --- " * 8 + "|")
    for name, numbers in measurements.items():
        cells = [name]
        for index in range(2):
            measured = [numbers[COUNTS[0], False], *(numbers[count, True] for count in COUNTS)]
            cells += [_short(of_kind[index]) for of_kind in measured]
        cells.append(" → ".join(_short(numbers[COUNTS[0], shard][2]) for shard in (False, True)))
        print("|", " | ".join(cells), "|")


def _short(number: float) -> str:
    return f"{number:.1f}".removesuffix(".0") if number >= 2 else f"{number:.2f}".rstrip("0").removesuffix(".")


def _work(rank: int, folder: str, count: int) -> None:
    torch.set_num_threads(1)
    os.environ.setdefault("GLOO_SOCKET_IFNAME", "lo")
    dist.init_process_group("gloo", store=dist.FileStore(f"{folder}/store", count), rank=rank, world_size=count)
    ranks, numbers = Ranks(rank, count), {}
    for name, settings in METHODS.items():
        method = methods.names()[name](**settings)
        for shard in (False, True):
            numbers[name, shard] = _measured(name, method, replace(ranks, shard=shard))
    if rank == 0:
        torch.save(numbers, Path(folder) / "numbers.pt")
    dist.barrier()
    dist.destroy_process_group()


def _measured(name: str, method: Method, ranks: Ranks) -> tuple[float, float, float]:
    """Return the memory of a rank and what it sends in a step, in numbers per parameter, and its messages in a step."""
    generator = torch.Generator().manual_seed(0)
    with off(), together(ranks):
        settings = {**SETTINGS, **methods.names()[name].registration.ring}
        game = ring(**{key: value for key, value in settings.items() if key != "points"})
        if "points" in settings:
            game = ring(**{**settings, "points": STEPS * BATCH})
        state, steps, sent, calls = method.initial(game, generator), Steps(game, method), 0, 0
        for _ in range(STEPS):
            state = method.prepare(game, state, generator)
            drawn = draw(game, method, state, generator, ranks)
            with counting_messages() as messages:
                (state,), _ = steps([state], [[drawn]], donate=True)
            sent, calls = sent + messages.bytes, calls + messages.calls
    count = 4 * sum(map(len, state.vectors.values()))  # bytes
    memory = [tensor.untyped_storage() for tensor in flatten(state.memory).values() if tensor.dim()]
    held = {storage.data_ptr(): storage.nbytes() for storage in memory}
    return sum(held.values()) / count, sent / count / STEPS, calls / STEPS


if __name__ == "__main__":
    main()
