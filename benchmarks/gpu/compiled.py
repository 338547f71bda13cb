"""Compiled steps compared with eager ones, also with several seeds, and functions that no CUDA graph can record."""

from __future__ import annotations

import time

import torch
from torch import Tensor, nn

from benchmarks.gpu.agreement import EXACT, method_of, without_tf32
from benchmarks.gpu.findings import Findings
from benchmarks.gpu.games import dcgan, finite_ring, relative_difference, ring, to_device
from detente.game import EvaluationSettings, Game
from detente.methods.method import Method
from detente.state import State
from detente.training.cuda_graph import Recording
from detente.training.step import Steps, draw, state_to_device

METHODS = ("alternating", "consensus", "extragradient", "svrg", "covariance_langevin", "sgan", "lookahead")
CPU_METHODS = ("alternating",)  # compiling a step takes a minute there


def compiled_steps(findings: Findings) -> None:
    """Compare compiled and eager steps on the device, with one and with several seeds."""
    without_tf32()
    for name in METHODS if findings.gpu else CPU_METHODS:
        with findings.catch_errors(f"compiled, {name}"):
            _compare(findings, f"compiled, {name}, ring", finite_ring(torch.float64), method_of(name), 1)
    if not findings.gpu:
        return
    with findings.catch_errors("compiled, BatchNorm"):
        game = ring(torch.float64, lambda: nn.BatchNorm1d(64))
        _compare(findings, "compiled, alternating, ring with BatchNorm", game, method_of("alternating"), 1)
        _compare(findings, "compiled, alternating, ring with BatchNorm, three seeds", game, method_of("alternating"), 3)
    with findings.catch_errors("compiled, DCGAN-28"):
        game = dcgan(28, 8, 16, torch.float64)
        _compare(findings, "compiled, alternating, DCGAN-28", game, method_of("alternating"), 1)
    with findings.catch_errors("compiled, bfloat16"):
        game = finite_ring(torch.float32)
        game = game.with_settings(EvaluationSettings("bfloat16"))
        _compare(findings, "compiled, alternating, ring, bfloat16", game, method_of("alternating"), 1, 1e-4)
    _not_recordable(findings)


@torch.no_grad()
def _compare(findings: Findings, title: str, game: Game, method: Method, seeds: int, tolerance: float = EXACT) -> None:
    """Add the difference between two compiled and two eager steps, and how the kernels were launched."""
    states: list[State] = []
    draws = []
    for seed in range(seeds):
        generator = torch.Generator().manual_seed(seed)
        state = state_to_device(method.initial(game, generator), findings.device)
        state = method.prepare(game, state, generator)
        states.append(state)
        draws.append([to_device(draw(game, method, state, generator), findings.device) for _ in range(2)])
    eager_states, _ = Steps(game, method)(states, draws)
    steps = Steps(game, method, compiled=True, mapped=seeds > 1)
    start = time.perf_counter()
    compiled_states, _ = steps(states, draws)
    findings.synchronize()
    seconds = time.perf_counter() - start
    distance = max(
        relative_difference(eager_state.vectors[name], compiled_state.vectors[name])
        for eager_state, compiled_state in zip(eager_states, compiled_states, strict=True)
        for name in game.players
    )
    detail = f"{seconds:.0f} s until the first step; {describe_launch(steps)}"
    if steps.fallback_reason:
        findings.add(title, f"eager: {steps.fallback_reason}", "compiled", False, detail)
        return
    findings.add_difference(title, distance, tolerance, detail)
    if findings.gpu:
        is_graph = steps.kernel_launches == "as a CUDA graph"
        findings.add(f"{title}: kernels", describe_launch(steps), "as a CUDA graph", is_graph)


def describe_launch(steps: Steps) -> str:
    """Return a description of how compiled steps are launched."""
    return steps.kernel_launches or ("compiled" if steps.compiled else f"eager: {steps.fallback_reason}")


def _not_recordable(findings: Findings) -> None:
    """Check that recording a function that reads a value raises an error, and that the device works afterwards."""
    with findings.catch_errors("a function that reads a value"):

        def read_value(x: Tensor) -> list[Tensor]:
            return [x + float(x.sum())]

        x = torch.ones(4, device=findings.device)
        try:
            Recording(read_value, [x])
            error_message = "nothing"
        except Exception as error:
            error_message = f"{type(error).__name__}: {' '.join(str(error).split())[:80]}"
        torch.cuda.synchronize()
        device_works = float((x + 1).sum()) == 8.0
        passed = device_works and error_message != "nothing"
        findings.add(
            "a function that cannot be recorded: the error, and the device afterwards", error_message, "", passed
        )
