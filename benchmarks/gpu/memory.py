"""The largest memory of a step's tensors on the GPU beside the hand-written loop's."""

from __future__ import annotations

import gc
from collections.abc import Callable

import torch

from benchmarks.gpu.findings import Findings
from benchmarks.gpu.games import dcgan
from benchmarks.gpu.speed import Contest, OutOfTime, Source, within
from detente.game import EvaluationSettings

MIB = 2**20
TARGET = 1.1
STEPS = 5


def memory(findings: Findings) -> None:
    """DCGAN-64 of batch 128: the peak of allocated memory, eager and compiled."""
    batch, width = (128, 64) if findings.gpu else (4, 4)
    game = dcgan(64, width, batch)

    def source() -> Source:
        generator = torch.Generator(findings.device).manual_seed(0)
        return lambda: torch.rand(batch, 3, 64, 64, generator=generator, device=findings.device) * 2 - 1

    def contest(kind: str) -> Contest:
        return Contest(findings, game, source, lambda: torch.Generator().manual_seed(0), kind)

    if not findings.gpu:
        contest("alternating").ours()[0]()
        findings.add("memory", "tried; a processor tells no peak of tensors")
        return
    for kind in ("alternating", "simultaneous", "consensus"):
        with findings.guarded(kind):
            loop = _peak(lambda kind=kind: contest(kind).loop())
            ours = _peak(lambda kind=kind: contest(kind).ours()[0])
            _write_down(findings, f"DCGAN-64, batch {batch}, {kind}, eager", ours, loop, TARGET)
    with findings.guarded("alternating, cheaper"):
        loop = _peak(lambda: contest("alternating").loop())
        for name, settings in (
            ("bfloat16", EvaluationSettings(precision="bfloat16")),
            ("in four parts", EvaluationSettings(accumulate=4)),
        ):
            ours = _peak(lambda settings=settings: contest("alternating").ours(settings=settings)[0])
            _write_down(findings, f"DCGAN-64, batch {batch}, alternating, eager, {name}", ours, loop, None)
        what = f"DCGAN-64, batch {batch}, alternating, compiled (with the CUDA graph's own memory)"
        try:
            with within(120):
                compiled = _peak(lambda: contest("alternating").ours(True)[0])
            _write_down(findings, what, compiled, loop, None)
        except OutOfTime:
            findings.add(what, "given up after 120 s of compiling", "compiled", False)


def _write_down(
    findings: Findings, what: str, ours: tuple[float, float], loop: tuple[float, float], target: float | None
) -> None:
    ratio = ours[0] / loop[0]
    detail = f"allocated: loop {loop[0]:.0f} MiB, ours {ours[0]:.0f} MiB; reserved: {loop[1]:.0f} and {ours[1]:.0f} MiB"
    promised = "" if target is None else f"at most {target}"
    findings.add(what, f"{ratio:.2f}", promised, None if target is None else ratio <= target, detail)


def _peak(make: Callable[[], Callable[[], None]]) -> tuple[float, float]:
    """Return the peaks of allocated and of reserved memory over some steps, above what was there before, in MiB."""
    gc.collect()
    torch.cuda.empty_cache()
    allocated, reserved = torch.cuda.memory_allocated(), torch.cuda.memory_reserved()
    torch.cuda.reset_peak_memory_stats()
    step = make()
    for _ in range(STEPS):
        step()
    torch.cuda.synchronize()
    peaks = torch.cuda.max_memory_allocated() - allocated, torch.cuda.max_memory_reserved() - reserved
    del step
    return peaks[0] / MIB, peaks[1] / MIB
