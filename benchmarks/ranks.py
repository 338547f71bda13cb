"""Two ranks against one process on the same batch, against a loop with DistributedDataParallel, and a grid of runs.

Each process has one thread. In every round, rank 0 first takes some steps alone while the other waits, then both take
as many together; a ratio is taken per round.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
import torch.distributed as dist
import torch.multiprocessing as multiprocessing
from torch.nn.parallel import DistributedDataParallel

from benchmarks import loops
from benchmarks.row import Row, milliseconds
from benchmarks.timing import ratio_of
from benchmarks.training_steps import RATE, method_of
from detente import methods
from detente.game import Game
from detente.games import presets
from detente.games.adversarial import Adversarial
from detente.methods.method import Method
from detente.optimizers.adam import Adam
from detente.ranks import BatchNorm, Ranks, together
from detente.state import State
from detente.training.step import Steps, draw

COUNT, BATCH, WIDTH = 2, 64, 32
CELLS = ("alternating", "consensus", "extragradient", "lookahead", "optimistic_adam", "simultaneous")
Step = Callable[[], None]


@dataclass(frozen=True)
class Case:
    """A training that is timed in one process and by two ranks.

    Args:
        target: largest ratio of the times.
        game: returns the game.
        method: returns the method.
        batch_norm: as of `Ranks`.
        loop: whether a hand-written loop with DistributedDataParallel is timed, too.
    """

    target: float | None
    game: Callable[[], Game]
    method: Callable[[], Method]
    batch_norm: BatchNorm = "whole"
    loop: bool = False


def _dcgan(batch_norm: bool = False) -> Game:
    return presets.digits(width=WIDTH, batch=BATCH, batch_norm=batch_norm)


CASES = {
    "alternating": Case(0.70, _dcgan, lambda: method_of("alternating"), loop=True),
    "extragradient": Case(0.65, _dcgan, lambda: method_of("extragradient")),
    "consensus": Case(0.65, _dcgan, lambda: method_of("consensus")),
    "alternating, BatchNorm of the whole batch": Case(None, lambda: _dcgan(True), lambda: method_of("alternating")),
    "alternating, BatchNorm of a rank's rows": Case(
        None, lambda: _dcgan(True), lambda: method_of("alternating"), batch_norm="rows"
    ),
    "consensus, BatchNorm of the whole batch": Case(0.85, lambda: _dcgan(True), lambda: method_of("consensus")),
    "SGAN, 4 pairs of width 16": Case(
        0.55,
        lambda: presets.digits(width=16, batch=BATCH, batch_norm=False),
        lambda: methods.sgan(pairs=4, optimizer=Adam(RATE, (0.5, 0.999))),
    ),
}


def run(quick: bool) -> list[Row]:
    """Return the time of two ranks in units of one process's, and of a grid on two workers in units of one."""
    rounds = 5 if quick else 21
    with tempfile.TemporaryDirectory() as folder:
        multiprocessing.spawn(_work, (folder, rounds), COUNT)  # pyright: ignore[reportPrivateImportUsage]
        seconds, processor = torch.load(Path(folder) / "seconds.pt")
    rows = []
    for name, case in CASES.items():
        alone, ranks = seconds[name, "alone"], seconds[name, "ranks"]
        one_process, two_ranks = milliseconds(statistics.median(alone)), milliseconds(statistics.median(ranks))
        of_processor = ratio_of(processor[name, "ranks"], processor[name, "alone"])
        detail = f"one process {one_process}, two ranks {two_ranks}; in processor time of a rank {of_processor}"
        rows.append(Row.of(f"two ranks: {name}", ratio_of(ranks, alone), target=case.target, detail=detail))
        if case.loop:
            loop = seconds[name, "loop"]
            detail = f"loop {milliseconds(statistics.median(loop))}"
            what = f"two ranks: {name}, in units of a DistributedDataParallel loop on two ranks"
            rows.append(Row.of(what, ratio_of(ranks, loop), target=1.0, detail=detail))
    return [*rows, _grid(1 if quick else 3)]


def _work(rank: int, folder: str, rounds: int) -> None:
    torch.set_num_threads(1)
    os.environ.setdefault("GLOO_SOCKET_IFNAME", "lo")
    dist.init_process_group("gloo", store=dist.FileStore(f"{folder}/store", COUNT), rank=rank, world_size=COUNT)
    seconds, processor = {}, {}
    for name, case in CASES.items():
        ranks, game, method = Ranks(rank, COUNT, case.batch_norm), case.game(), case.method()
        candidates = {"ranks": _step(game, method, ranks)}
        if rank == 0:
            candidates["alone"] = _step(game, method, None)
        if case.loop:
            candidates["loop"] = _loop(game, rank)
        for kind in ("alone", "ranks", "loop"):
            seconds[name, kind], processor[name, kind] = [], []
        for _ in range(rounds):
            for kind, timed in seconds.items():
                if kind[0] == name and (kind[1] != "loop" or case.loop):
                    clock = time.process_time()
                    timed.append(_time(candidates.get(kind[1])))
                    processor[kind].append(time.process_time() - clock)
    if rank == 0:
        measured = [{key: timed[1:] for key, timed in of_clock.items()} for of_clock in (seconds, processor)]
        torch.save(measured, Path(folder) / "seconds.pt")  # the first: warm-up
    dist.destroy_process_group()


def _step(game: Game, method: Method, ranks: Ranks | None) -> Step:
    generator = torch.Generator().manual_seed(0)
    state, steps = method.initial(game, generator), Steps(game, method)

    def step() -> None:
        nonlocal state
        with together(ranks):
            (state,), _ = steps([state], [[draw(game, method, state, generator, ranks)]], donate=True)

    return step


def _loop(game: Game, rank: int) -> Step:
    """Return the step of the ordinary loop with DistributedDataParallel, on this rank's share of the batch."""
    assert isinstance(game, Adversarial)
    generator = torch.Generator().manual_seed(rank)
    modules = [game.modules[name] for name in game.players]
    game.write(State(torch.zeros(()), *game.initial(torch.Generator().manual_seed(0))), *modules)
    parallel = [DistributedDataParallel(module) for module in modules]
    return loops.alternating(*parallel, lambda: game.data.draw(BATCH // COUNT, generator)["real"], game.latent, RATE)


def _time(step: Step | None, calls: int = 3) -> float:
    """Return seconds per call on this rank; a rank without a step waits for the others."""
    dist.barrier()
    start = time.perf_counter()
    for _ in range(calls if step else 0):
        step()  # pyright: ignore[reportOptionalCall]
    seconds = (time.perf_counter() - start) / calls
    dist.barrier()
    return seconds


def _grid(rounds: int) -> Row:
    """Return the time of six trainings on two workers in units of that of one after the other."""
    words = "compare --game digits --game.width 8 --seeds 0 --steps 150 --compile off --no-checks --methods".split()
    seconds: dict[str, list[float]] = {"here": [], "processes": []}
    with tempfile.TemporaryDirectory() as folder:
        for index in range(rounds):
            for executor, timed in seconds.items():
                options = ["--executor", executor] + ["--workers", "2"] * (executor == "processes")
                out = ["--out", f"{folder}/{executor}{index}"]
                command = [sys.executable, "-m", "detente", *words, *CELLS, *options, *out]
                start = time.perf_counter()
                subprocess.run(command, check=True, capture_output=True, env={**os.environ, "OMP_NUM_THREADS": "1"})
                timed.append(time.perf_counter() - start)
    detail = f"one after the other {statistics.median(seconds['here']):.0f} s, from the shell's prompt"
    ratio = ratio_of(seconds["processes"], seconds["here"])
    return Row.of("six trainings of DCGAN-28 on two workers", ratio, target=0.6, detail=detail)
