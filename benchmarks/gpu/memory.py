"""Peak GPU memory of a step, compared with the hand-written loop."""

from __future__ import annotations

import gc
from collections.abc import Callable

import torch

from benchmarks.gpu.findings import Findings
from benchmarks.gpu.games import dcgan
from benchmarks.gpu.speed import Comparison, OutOfTime, Source, time_limit
from detente.game import EvaluationSettings

MIB = 2**20
TARGET = 1.1
STEPS = 5


def memory(findings: Findings) -> None:
    """Measure the peak of allocated memory for DCGAN-64 with batch 128, eager and compiled."""
    batch, width = (128, 64) if findings.gpu else (4, 4)
    game = dcgan(64, width, batch)

    def source() -> Source:
        generator = torch.Generator(findings.device).manual_seed(0)
        return lambda: torch.rand(batch, 3, 64, 64, generator=generator, device=findings.device) * 2 - 1

    def make_comparison(kind: str) -> Comparison:
        return Comparison(findings, game, source, lambda: torch.Generator().manual_seed(0), kind)

    if not findings.gpu:
        make_comparison("alternating").detente_steps()[0]()
        findings.add("memory", "tried; a processor tells no peak of tensors")
        return
    for kind in ("alternating", "simultaneous", "consensus"):
        with findings.catch_errors(kind):
            loop_peak = _peak_memory(lambda kind=kind: make_comparison(kind).loop_step())
            detente_peak = _peak_memory(lambda kind=kind: make_comparison(kind).detente_steps()[0])
            _add_ratio(findings, f"DCGAN-64, batch {batch}, {kind}, eager", detente_peak, loop_peak, TARGET)
    with findings.catch_errors("alternating, cheaper"):
        loop_peak = _peak_memory(lambda: make_comparison("alternating").loop_step())
        for name, settings in (
            ("bfloat16", EvaluationSettings(precision="bfloat16")),
            ("in four parts", EvaluationSettings(accumulate=4)),
        ):
            detente_peak = _peak_memory(
                lambda settings=settings: make_comparison("alternating").detente_steps(settings=settings)[0]
            )
            _add_ratio(findings, f"DCGAN-64, batch {batch}, alternating, eager, {name}", detente_peak, loop_peak, None)
        title = f"DCGAN-64, batch {batch}, alternating, compiled (with the CUDA graph's own memory)"
        try:
            with time_limit(120):
                compiled = _peak_memory(lambda: make_comparison("alternating").detente_steps(True)[0])
            _add_ratio(findings, title, compiled, loop_peak, None)
        except OutOfTime:
            findings.add(title, "given up after 120 s of compiling", "compiled", False)


def _add_ratio(
    findings: Findings,
    title: str,
    detente_peak: tuple[float, float],
    loop_peak: tuple[float, float],
    target: float | None,
) -> None:
    ratio = detente_peak[0] / loop_peak[0]
    allocated = f"allocated: loop {loop_peak[0]:.0f} MiB, ours {detente_peak[0]:.0f} MiB"
    detail = f"{allocated}; reserved: {loop_peak[1]:.0f} and {detente_peak[1]:.0f} MiB"
    target_text = "" if target is None else f"at most {target}"
    findings.add(title, f"{ratio:.2f}", target_text, None if target is None else ratio <= target, detail)


def _peak_memory(make_step: Callable[[], Callable[[], None]]) -> tuple[float, float]:
    """Return how far the peaks of allocated and reserved memory rise over a few steps, in MiB."""
    gc.collect()
    torch.cuda.empty_cache()
    allocated, reserved = torch.cuda.memory_allocated(), torch.cuda.memory_reserved()
    torch.cuda.reset_peak_memory_stats()
    step = make_step()
    for _ in range(STEPS):
        step()
    torch.cuda.synchronize()
    peaks = torch.cuda.max_memory_allocated() - allocated, torch.cuda.max_memory_reserved() - reserved
    del step
    return peaks[0] / MIB, peaks[1] / MIB
