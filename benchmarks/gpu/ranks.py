"""Several processes that train one game, on GPUs by NCCL or on CPUs, against one process; and runs of torchrun.

With one GPU, one process sends its messages to itself by NCCL: the same code as on several GPUs, but nothing is
divided.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
import torch.multiprocessing as multiprocessing
from safetensors.torch import load_file
from torch import nn

from benchmarks.gpu.agreement import EXACT, method_of, without_tf32
from benchmarks.gpu.findings import Findings, describe_error
from benchmarks.gpu.games import dcgan, finite_ring, largest_difference, relative_difference, ring
from detente import ranks as of_ranks
from detente.game import Game
from detente.ranks import Messages, Ranks, counting_messages, together
from detente.state import State
from detente.training.step import Steps, draw, state_to_device

COUNT = 2
STEPS = 2
TRAIN = "train --game digits --game.width 8 --game.batch 16 --method consensus --samples 64 --no-checks".split()


def _with_batch_norm() -> Game:
    return ring(torch.float64, lambda: nn.BatchNorm1d(64))


def _dcgan() -> Game:
    return dcgan(28, 8, 16, torch.float64)


CASES: dict[str, tuple[Callable[[], Game], str, bool]] = {  # game, method, whether steps are compiled
    "alternating, ring with BatchNorm": (_with_batch_norm, "alternating", False),
    "consensus, ring with BatchNorm": (_with_batch_norm, "consensus", False),
    "extragradient, ring": (lambda: finite_ring(torch.float64), "extragradient", False),
    "covariance_langevin, ring": (lambda: finite_ring(torch.float64), "covariance_langevin", False),
    "symplectic_adjustment, ring": (lambda: finite_ring(torch.float64), "symplectic_adjustment", False),
    "unrolled, ring with BatchNorm": (_with_batch_norm, "unrolled", False),
    "sgan, ring": (lambda: finite_ring(torch.float64), "sgan", False),
    "alternating, DCGAN-28": (_dcgan, "alternating", False),
    "consensus, DCGAN-28": (_dcgan, "consensus", False),
    "compiled, alternating, ring with BatchNorm": (_with_batch_norm, "alternating", True),
}


def several_processes(findings: Findings) -> None:
    """Compare steps of several processes with those of one, and a run that torchrun starts with an ordinary one."""
    count = min(COUNT, torch.cuda.device_count()) if findings.gpu else COUNT
    set_up = f"{count} rank{'s' * (count > 1)}, {'NCCL' if findings.gpu else 'CPUs'}"
    with findings.catch_errors(set_up), tempfile.TemporaryDirectory() as folder:
        multiprocessing.spawn(_work, (folder, count, findings.device.type), count)  # pyright: ignore[reportPrivateImportUsage]
        for title, result in json.loads((Path(folder) / "results.json").read_text(encoding="utf-8")).items():
            if "error" in result:
                findings.add(f"{title}: {set_up}", *result["error"])
            else:
                findings.add_difference(f"{title}: {set_up}", result["distance"], EXACT, result["detail"])
    for extra in ((), ("--shard",)):
        title = " ".join(("torchrun, consensus, DCGAN-28 on digits", *extra))
        with findings.catch_errors(title):
            _run(findings, f"{title}: {set_up}", count, extra)


def _work(rank: int, folder: str, count: int, device: str) -> None:
    os.environ.setdefault("GLOO_SOCKET_IFNAME", "lo")
    without_tf32()
    if device == "cuda":
        torch.cuda.set_device(rank)
    backend = "cpu:gloo,cuda:nccl" if device == "cuda" else "gloo"
    store = dist.FileStore(f"{folder}/store", count)  # pyright: ignore[reportPrivateImportUsage]
    dist.init_process_group(backend, store=store, rank=rank, world_size=count)
    results: dict[str, Any] = {}
    for title, (build, name, compiled) in CASES.items():
        try:
            game, ranks = build(), Ranks(rank, count)
            single_process, _, _ = _steps(game, name, compiled, device, None)
            state, messages, seconds = _steps(game, name, compiled, device, ranks)
            detail = f"{messages.calls} messages, {messages.bytes / 1e6:.3g} MB in {STEPS} steps; {seconds:.1f} s"
            results[title] = {"distance": largest_difference(single_process, state), "detail": detail}
        except Exception as error:
            results[title] = {"error": describe_error(error)}
    if rank == 0:
        (Path(folder) / "results.json").write_text(json.dumps(results), encoding="utf-8")
    dist.barrier()
    dist.destroy_process_group()


def _steps(game: Game, name: str, compiled: bool, device: str, ranks: Ranks | None) -> tuple[State, Messages, float]:
    """Return the state after some steps, the messages sent, and the seconds."""
    method, generator = method_of(name), torch.Generator().manual_seed(0)
    with _sending(ranks):
        state = state_to_device(method.initial(game, generator), device)
        steps, start = Steps(game, method, compiled=compiled), time.perf_counter()
        with counting_messages() as messages:
            for _ in range(STEPS):
                state = method.prepare(game, state, generator)
                (state,), _ = steps([state], [[draw(game, method, state, generator, ranks)]])
        state = method.whole_state(state, ranks)
        if compiled and steps.fallback_reason:
            raise RuntimeError(f"not compiled: {steps.fallback_reason}")
    if device == "cuda":
        torch.cuda.synchronize()
    return state, messages, time.perf_counter() - start


@contextmanager
def _sending(ranks: Ranks | None) -> Iterator[None]:
    """Context of `together` in which a single rank sends its messages, too."""
    if ranks is None or ranks.count > 1:
        with together(ranks):
            yield
        return
    token = of_ranks._RANKS.set(ranks)
    try:
        yield
    finally:
        of_ranks._RANKS.reset(token)


def _run(findings: Findings, title: str, count: int, extra: tuple[str, ...]) -> None:
    """Compare a run of several processes with one of one process."""
    device = ["--device", findings.device.type, "--steps", "20", "--checkpoint_every", "10", "--compile", "off", *extra]
    with tempfile.TemporaryDirectory() as folder:
        launchers = {"alone": [sys.executable], "ranks": [sys.executable, "-m", "torch.distributed.run"]}
        launchers["ranks"] += ["--standalone", "--nproc-per-node", str(count)]
        vectors, start = {}, time.perf_counter()
        for name, launcher in launchers.items():
            command = [*launcher, "-m", "detente", *TRAIN, *device, "--out", f"{folder}/{name}"]
            completed = subprocess.run(command, capture_output=True, text=True, timeout=200)
            if completed.returncode:
                raise RuntimeError(f"{name} ended with {completed.returncode}: {completed.stderr[-300:]}")
            last = sorted(Path(folder, name, "checkpoints").glob("step*.safetensors"))[-1]
            vectors[name] = {key: tensor for key, tensor in load_file(last).items() if "/vectors/" in key}
        distance = max(relative_difference(vector, vectors["ranks"][key]) for key, vector in vectors["alone"].items())
        detail = f"float32, 20 steps; both runs took {time.perf_counter() - start:.0f} s"
        findings.add_difference(title, distance, 0.05, detail)
