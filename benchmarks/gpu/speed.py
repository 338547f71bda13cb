"""Steps against hand-written eager loops: eager, compiled one step a graph, and ten.

A section compiles while other sections run, and measures when the machine is its own (`Findings.gate`).
"""

from __future__ import annotations

import copy
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor

from benchmarks.contest import RATE, method_of
from benchmarks.gpu.compiled import launched
from benchmarks.gpu.findings import Findings
from benchmarks.gpu.games import dcgan, wide_ring
from benchmarks.loops import LOOPS
from benchmarks.timing import Timing, interleave
from detente.game import EvaluationSettings
from detente.games.adversarial import Adversarial
from detente.state import State
from detente.training.step import Draw, Steps, batch_to_device, to_device

TARGET = 0.7  # of the eager loop's time, compiled
CHUNKS = (1, 10)
COMPILED_BY = 215.0  # seconds after this process began at which compiling is given up
BEGAN = time.monotonic()
Source = Callable[[], Tensor]  # of real batches
Call = Callable[[], None]


class OutOfTime(BaseException):
    """Compiling took too long; no `Exception`, which would be taken for a step that cannot be compiled."""


@contextmanager
def within(seconds: float) -> Iterator[None]:
    """Raise `OutOfTime` in what takes longer than so many seconds."""

    def ring(*_: object) -> None:
        raise OutOfTime

    before = signal.signal(signal.SIGALRM, ring)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


class Contest:
    """A hand-written loop and détente's steps on one game, with real batches from one kind of source.

    Args:
        findings: of the section.
        game: who plays.
        source: makes a source of real batches, on the device or on the processor.
        generator: makes the generator of latents: on the processor, as in a training, or on the device.
        kind: the method, and the loop of its name.
    """

    def __init__(
        self,
        findings: Findings,
        game: Adversarial,
        source: Callable[[], Source],
        generator: Callable[[], torch.Generator],
        kind: str = "alternating",
    ) -> None:
        self.findings, self.game, self.source, self.generator, self.kind = findings, game, source, generator, kind
        self.method = method_of(kind, RATE)

    def initial(self) -> State:
        """Return where every candidate starts."""
        return to_device(self.method.initial(self.game, torch.Generator().manual_seed(0)), self.findings.device)

    def loop(self) -> Call:
        """Return one step of the hand-written loop, as most people write it."""
        modules = [copy.deepcopy(self.game.modules[name]) for name in self.game.players]
        self.game.write(self.initial(), *modules)
        modules = [module.to(self.findings.device) for module in modules]
        source, device = self.source(), self.findings.device

        def real() -> Tensor:
            batch = source()
            fresh = self.findings.gpu and batch.device.type == "cpu"
            return batch.pin_memory().to(device, non_blocking=True) if fresh else batch.to(device)

        return LOOPS[self.kind](modules[0], modules[1], real, self.game.latent, RATE)

    def ours(
        self, compiled: bool = False, chunk: int = 1, settings: EvaluationSettings | None = None
    ) -> tuple[Call, Steps]:
        """Return `chunk` steps of ours, the real samples of a step serving all of its batches, as in `Stepper.step`."""
        game = self.game.with_settings(settings or EvaluationSettings())
        state, steps = self.initial(), Steps(game, self.method, chunk, compiled)
        source, generator, device = self.source(), self.generator(), self.findings.device
        turns = range(self.method.draws(self.game))

        def drawn() -> Draw:
            real = source()
            return Draw(
                tuple(batch_to_device(self.game.complete(real, generator), device) for _ in turns),
                tuple({} for _ in turns),
            )

        def take() -> None:
            nonlocal state
            (state,), _ = steps([state], [[drawn() for _ in range(chunk)]], donate=True)

        return take, steps

    def candidates(self, chunks: tuple[int, ...]) -> tuple[dict[str, Call], dict[str, int]]:
        """Return the loop, our eager and our compiled steps by name, and how many steps a call of each takes."""
        calls, sizes = {"loop": self.loop(), "eager": self.ours()[0]}, {"loop": 1, "eager": 1}
        for chunk in chunks:
            name = f"compiled, {chunk} step{'s' * (chunk > 1)} a graph"
            with self.findings.guarded(name):
                call, steps = self.ours(True, chunk)
                began = time.perf_counter()
                try:
                    with within(max(1.0, BEGAN + COMPILED_BY - time.monotonic())):
                        call()
                        self.findings.synchronize()
                except OutOfTime:
                    seconds = time.perf_counter() - began
                    self.findings.add(name, f"given up after {seconds:.0f} s of compiling", "compiled", False)
                    continue
                seconds = time.perf_counter() - began
                how = launched(steps)
                self.findings.add(f"{name}: until the first step", f"{seconds:.0f} s", detail=how)
                if not steps.fallback_reason:
                    calls[name], sizes[name] = call, chunk
        return calls, sizes


def timed(findings: Findings, calls: dict[str, Call], sizes: dict[str, int], steps: int, rounds: int) -> Timing:
    """Return the timing of `steps` steps of every candidate, the device's work waited for at their end."""

    def unit(name: str) -> Call:
        def several() -> None:
            for _ in range(max(1, steps // sizes[name])):
                calls[name]()
            findings.synchronize()

        return several

    return interleave({name: unit(name) for name in calls}, rounds, budget=1e-9)


def write_down(findings: Findings, timing: Timing, steps: int, sizes: dict[str, int], title: str) -> None:
    """Write down every candidate's time as a share of the loop's."""
    for name in timing.seconds:
        each = 1e3 / max(sizes[name], steps // sizes[name] * sizes[name])
        if name == "loop":
            findings.add(f"{title}: hand-written loop", f"{each * timing.median(name):.3g} ms a step")
            continue
        own, loop = max(sizes[name], steps // sizes[name] * sizes[name]), steps
        ratio = timing.ratio(name, "loop").times(loop / own)
        promised = name.startswith("compiled")
        findings.add(
            f"{title}: {name}",
            str(ratio),
            f"at most {TARGET} of the loop's time" if promised else "",
            ratio.median <= TARGET if promised else None,
            f"{each * timing.median(name):.3g} ms a step",
        )


def wait(findings: Findings) -> None:
    """Wait until nothing else runs on the machine."""
    findings.add("prepared", "waiting for the machine to be free" if findings.gate else "measuring at once")
    while findings.gate is not None and not findings.gate.exists():
        time.sleep(0.05)


def ring(findings: Findings) -> None:
    """Job T's ring: batches drawn on the processor as in a training, and on the device."""
    game = wide_ring()
    steps, rounds, chunks = (100, 15, CHUNKS) if findings.gpu else (4, 3, ())

    def drawing(device: torch.device) -> Callable[[], Source]:
        def source() -> Source:
            generator = torch.Generator(device).manual_seed(0)
            return lambda: game.data.draw(game.batch, generator)["real"]

        return source

    places = {"drawn on the processor": torch.device("cpu"), "drawn on the GPU": findings.device}
    prepared = {}
    for title, place in places.items() if findings.gpu else [("drawn on the processor", torch.device("cpu"))]:
        contest = Contest(findings, game, drawing(place), lambda place=place: torch.Generator(place).manual_seed(0))
        # One compilation serves both: the second finds its kernels in inductor's cache.
        prepared[title] = contest.candidates(chunks if place.type == "cpu" else chunks[:1])
    wait(findings)
    for title, (calls, sizes) in prepared.items():
        timing = timed(findings, calls, sizes, steps, rounds)
        write_down(findings, timing, steps, sizes, f"ring, batch {game.batch}, {title}")


def dcgan64(findings: Findings) -> None:
    """DCGAN-64, batch 128, real images in the device's memory."""
    width, batch, steps, rounds, chunks = (64, 128, 20, 11, CHUNKS) if findings.gpu else (8, 8, 1, 3, ())
    game = dcgan(64, width, batch)
    images = game.data.take(torch.arange(game.data.size or 0))["real"].to(findings.device)  # pyright: ignore

    def source() -> Source:
        generator = torch.Generator(findings.device).manual_seed(0)
        return lambda: images[torch.randint(len(images), (batch,), generator=generator, device=findings.device)]

    contest = Contest(findings, game, source, lambda: torch.Generator().manual_seed(0))
    calls, sizes = contest.candidates(chunks)
    for name, settings in (
        ("eager, bfloat16", EvaluationSettings(precision="bfloat16")),
        ("eager, channels last", EvaluationSettings(channels_last=True)),
        ("eager, bfloat16, channels last", EvaluationSettings(precision="bfloat16", channels_last=True)),
    ):
        calls[name], sizes[name] = contest.ours(settings=settings)[0], 1
    second = Contest(findings, game, source, lambda: torch.Generator().manual_seed(0), "consensus")
    other = {"loop": second.loop(), "eager": second.ours()[0]}
    wait(findings)
    write_down(findings, timed(findings, calls, sizes, steps, rounds), steps, sizes, f"DCGAN-64, batch {batch}")
    timing = timed(findings, other, dict.fromkeys(other, 1), max(1, steps // 4), rounds)
    write_down(findings, timing, max(1, steps // 4), dict.fromkeys(other, 1), f"DCGAN-64, batch {batch}, consensus")
