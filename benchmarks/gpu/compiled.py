"""Compiled steps: against eager ones, mapped over seeds, and what happens where a CUDA graph cannot be recorded."""

from __future__ import annotations

import time

import torch
from torch import Tensor, nn

from benchmarks.gpu.agreement import EXACT, method_of, without_tf32
from benchmarks.gpu.findings import Findings
from benchmarks.gpu.games import dcgan, finite_ring, moved, relative, ring
from detente.game import EvaluationSettings, Game
from detente.methods.method import Method
from detente.state import State
from detente.training.cuda_graph import Recording
from detente.training.step import Steps, draw, to_device

METHODS = ("alternating", "consensus", "extragradient", "svrg", "covariance_langevin", "sgan", "lookahead")
ON_A_PROCESSOR = ("alternating",)  # where compiling takes a minute a step


def compiled_steps(findings: Findings) -> None:
    """Compiled steps of small rings agree with eager ones on the device, one seed and several."""
    without_tf32()
    for name in METHODS if findings.gpu else ON_A_PROCESSOR:
        with findings.guarded(f"compiled, {name}"):
            _compare(findings, f"compiled, {name}, ring", finite_ring(torch.float64), method_of(name), 1)
    if not findings.gpu:
        return
    with findings.guarded("compiled, BatchNorm"):
        game = ring(torch.float64, lambda: nn.BatchNorm1d(64))
        _compare(findings, "compiled, alternating, ring with BatchNorm", game, method_of("alternating"), 1)
        _compare(findings, "compiled, alternating, ring with BatchNorm, three seeds", game, method_of("alternating"), 3)
    with findings.guarded("compiled, DCGAN-28"):
        game = dcgan(28, 8, 16, torch.float64)
        _compare(findings, "compiled, alternating, DCGAN-28", game, method_of("alternating"), 1)
    with findings.guarded("compiled, bfloat16"):
        game = finite_ring(torch.float32)
        game = game.with_settings(EvaluationSettings("bfloat16"))
        _compare(findings, "compiled, alternating, ring, bfloat16", game, method_of("alternating"), 1, 1e-4)
    _not_recordable(findings)


@torch.no_grad()
def _compare(findings: Findings, what: str, game: Game, method: Method, seeds: int, most: float = EXACT) -> None:
    """Write down how far two compiled steps are from eager ones, and how their kernels were launched."""
    states: list[State] = []
    draws = []
    for seed in range(seeds):
        generator = torch.Generator().manual_seed(seed)
        state = to_device(method.initial(game, generator), findings.device)
        state = method.prepare(game, state, generator)
        states.append(state)
        draws.append([moved(draw(game, method, state, generator), findings.device) for _ in range(2)])
    expected, _ = Steps(game, method)(states, draws)
    steps = Steps(game, method, compiled=True, mapped=seeds > 1)
    began = time.perf_counter()
    found, _ = steps(states, draws)
    findings.synchronize()
    seconds = time.perf_counter() - began
    distance = max(
        relative(one.vectors[name], other.vectors[name])
        for one, other in zip(expected, found, strict=True)
        for name in game.players
    )
    detail = f"{seconds:.0f} s until the first step; {launched(steps)}"
    if steps.fallback_reason:
        findings.add(what, f"eager: {steps.fallback_reason}", "compiled", False, detail)
        return
    findings.difference(what, distance, most, detail)
    if findings.gpu:
        recorded = steps.launches == "as a CUDA graph"
        findings.add(f"{what}: kernels", launched(steps), "as a CUDA graph", recorded)


def launched(steps: Steps) -> str:
    """Return how compiled steps are launched, in words."""
    return steps.launches or ("compiled" if steps.compiled else f"eager: {steps.fallback_reason}")


def _not_recordable(findings: Findings) -> None:
    """A function that reads a value cannot be recorded; that is an error, after which the device goes on."""
    with findings.guarded("a function that reads a value"):

        def reading(x: Tensor) -> list[Tensor]:
            return [x + float(x.sum())]

        x = torch.ones(4, device=findings.device)
        try:
            Recording(reading, [x])
            said = "nothing"
        except Exception as error:
            said = f"{type(error).__name__}: {' '.join(str(error).split())[:80]}"
        torch.cuda.synchronize()
        works = float((x + 1).sum()) == 8.0
        refused = works and said != "nothing"
        findings.add("a function that cannot be recorded: the error, and the device afterwards", said, "", refused)
