"""Eager steps and compiled graphs of one and ten steps, compared with hand-written eager loops.

A section compiles while other sections run, and measures when nothing else runs (`Findings.gate`).
"""

from __future__ import annotations

import copy
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor

from benchmarks.gpu.compiled import describe_launch
from benchmarks.gpu.findings import Findings
from benchmarks.gpu.games import dcgan, wide_ring
from benchmarks.loops import LOOPS
from benchmarks.timing import Timing, interleave
from benchmarks.training_steps import RATE, method_of
from detente.game import EvaluationSettings
from detente.games.adversarial import Adversarial
from detente.state import State
from detente.training.step import Draw, Steps, batch_to_device, state_to_device

TARGET = 0.7  # time of compiled steps as a share of the eager loop's time
CHUNKS = (1, 10)
COMPILE_DEADLINE = 215.0  # seconds after the start of this process at which compiling is given up
PROCESS_START = time.monotonic()
Source = Callable[[], Tensor]  # returns real batches
Call = Callable[[], None]


class OutOfTime(BaseException):
    """Compiling took too long; not an `Exception`, because that would count as a step that cannot be compiled."""


@contextmanager
def time_limit(seconds: float) -> Iterator[None]:
    """Raise `OutOfTime` if the block takes longer than a number of seconds."""

    def raise_out_of_time(*_: object) -> None:
        raise OutOfTime

    previous_handler = signal.signal(signal.SIGALRM, raise_out_of_time)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, previous_handler)


class Comparison:
    """A hand-written loop and détente's steps on one game, with the same kind of real batches.

    Args:
        findings: findings of the section.
        game: the game.
        source: makes a source of real batches, on the device or on the CPU.
        generator: makes the generator of latents: on the CPU, as in a training, or on the device.
        kind: name of the method and of the loop.
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
        """Return the initial state of every candidate."""
        return state_to_device(self.method.initial(self.game, torch.Generator().manual_seed(0)), self.findings.device)

    def loop_step(self) -> Call:
        """Return one step of the hand-written loop."""
        modules = [copy.deepcopy(self.game.modules[name]) for name in self.game.players]
        self.game.write(self.initial(), *modules)
        modules = [module.to(self.findings.device) for module in modules]
        source, device = self.source(), self.findings.device

        def real() -> Tensor:
            batch = source()
            pin = self.findings.gpu and batch.device.type == "cpu"
            return batch.pin_memory().to(device, non_blocking=True) if pin else batch.to(device)

        return LOOPS[self.kind](modules[0], modules[1], real, self.game.latent, RATE)

    def detente_steps(
        self, compiled: bool = False, chunk: int = 1, settings: EvaluationSettings | None = None
    ) -> tuple[Call, Steps]:
        """Return `chunk` détente steps; all batches of a step share its real samples, as in `Stepper.step`."""
        game = self.game.with_settings(settings or EvaluationSettings())
        state, steps = self.initial(), Steps(game, self.method, chunk, compiled)
        source, generator, device = self.source(), self.generator(), self.findings.device
        draws = range(self.method.draws(self.game))

        def draw_input() -> Draw:
            real = source()
            return Draw(
                tuple(batch_to_device(self.game.complete(real, generator), device) for _ in draws),
                tuple({} for _ in draws),
            )

        def run_steps() -> None:
            nonlocal state
            (state,), _ = steps([state], [[draw_input() for _ in range(chunk)]], donate=True)

        return run_steps, steps

    def candidates(self, chunks: tuple[int, ...]) -> tuple[dict[str, Call], dict[str, int]]:
        """Return the loop, eager and compiled steps by name, and the number of steps in one call of each."""
        calls, sizes = {"loop": self.loop_step(), "eager": self.detente_steps()[0]}, {"loop": 1, "eager": 1}
        for chunk in chunks:
            name = f"compiled, {chunk} step{'s' * (chunk > 1)} a graph"
            with self.findings.catch_errors(name):
                call, steps = self.detente_steps(True, chunk)
                start = time.perf_counter()
                try:
                    with time_limit(max(1.0, PROCESS_START + COMPILE_DEADLINE - time.monotonic())):
                        call()
                        self.findings.synchronize()
                except OutOfTime:
                    seconds = time.perf_counter() - start
                    self.findings.add(name, f"given up after {seconds:.0f} s of compiling", "compiled", False)
                    continue
                seconds = time.perf_counter() - start
                launch = describe_launch(steps)
                self.findings.add(f"{name}: until the first step", f"{seconds:.0f} s", detail=launch)
                if not steps.fallback_reason:
                    calls[name], sizes[name] = call, chunk
        return calls, sizes


def time_candidates(
    findings: Findings, calls: dict[str, Call], sizes: dict[str, int], steps: int, rounds: int
) -> Timing:
    """Time `steps` steps of every candidate, synchronising the device at the end."""

    def make_unit(name: str) -> Call:
        def run_unit() -> None:
            for _ in range(max(1, steps // sizes[name])):
                calls[name]()
            findings.synchronize()

        return run_unit

    return interleave({name: make_unit(name) for name in calls}, rounds, budget=1e-9)


def add_times(findings: Findings, timing: Timing, steps: int, sizes: dict[str, int], title: str) -> None:
    """Add every candidate's time as a share of the loop's time."""
    for name in timing.seconds:
        milliseconds_per_step = 1e3 / max(sizes[name], steps // sizes[name] * sizes[name])
        if name == "loop":
            findings.add(f"{title}: hand-written loop", f"{milliseconds_per_step * timing.median(name):.3g} ms a step")
            continue
        detente_step_count, loop_step_count = max(sizes[name], steps // sizes[name] * sizes[name]), steps
        ratio = timing.ratio(name, "loop").times(loop_step_count / detente_step_count)
        has_target = name.startswith("compiled")
        findings.add(
            f"{title}: {name}",
            str(ratio),
            f"at most {TARGET} of the loop's time" if has_target else "",
            ratio.median <= TARGET if has_target else None,
            f"{milliseconds_per_step * timing.median(name):.3g} ms a step",
        )


def wait_for_machine(findings: Findings) -> None:
    """Wait until nothing else runs on the machine."""
    findings.add("prepared", "waiting for the machine to be free" if findings.gate else "measuring at once")
    while findings.gate is not None and not findings.gate.exists():
        time.sleep(0.05)


def ring(findings: Findings) -> None:
    """Time job T's ring with batches drawn on the CPU, as in a training, and on the device."""
    game = wide_ring()
    steps, rounds, chunks = (100, 15, CHUNKS) if findings.gpu else (4, 3, ())

    def make_source(device: torch.device) -> Callable[[], Source]:
        def source() -> Source:
            generator = torch.Generator(device).manual_seed(0)
            return lambda: game.data.draw(game.batch, generator)["real"]

        return source

    generator_devices = {"drawn on the processor": torch.device("cpu"), "drawn on the GPU": findings.device}
    prepared = {}
    for title, device in (
        generator_devices.items() if findings.gpu else [("drawn on the processor", torch.device("cpu"))]
    ):
        comparison = Comparison(
            findings, game, make_source(device), lambda device=device: torch.Generator(device).manual_seed(0)
        )
        # The second compilation finds its kernels in inductor's cache.
        prepared[title] = comparison.candidates(chunks if device.type == "cpu" else chunks[:1])
    wait_for_machine(findings)
    for title, (calls, sizes) in prepared.items():
        timing = time_candidates(findings, calls, sizes, steps, rounds)
        add_times(findings, timing, steps, sizes, f"ring, batch {game.batch}, {title}")


def dcgan64(findings: Findings) -> None:
    """Time DCGAN-64 with batch 128 and real images in device memory."""
    width, batch, steps, rounds, chunks = (64, 128, 20, 11, CHUNKS) if findings.gpu else (8, 8, 1, 3, ())
    game = dcgan(64, width, batch)
    images = game.data.take(torch.arange(game.data.size or 0))["real"].to(findings.device)  # pyright: ignore

    def source() -> Source:
        generator = torch.Generator(findings.device).manual_seed(0)
        return lambda: images[torch.randint(len(images), (batch,), generator=generator, device=findings.device)]

    comparison = Comparison(findings, game, source, lambda: torch.Generator().manual_seed(0))
    calls, sizes = comparison.candidates(chunks)
    for name, settings in (
        ("eager, bfloat16", EvaluationSettings(precision="bfloat16")),
        ("eager, channels last", EvaluationSettings(channels_last=True)),
        ("eager, bfloat16, channels last", EvaluationSettings(precision="bfloat16", channels_last=True)),
    ):
        calls[name], sizes[name] = comparison.detente_steps(settings=settings)[0], 1
    consensus_comparison = Comparison(findings, game, source, lambda: torch.Generator().manual_seed(0), "consensus")
    consensus_calls = {"loop": consensus_comparison.loop_step(), "eager": consensus_comparison.detente_steps()[0]}
    wait_for_machine(findings)
    add_times(
        findings, time_candidates(findings, calls, sizes, steps, rounds), steps, sizes, f"DCGAN-64, batch {batch}"
    )
    timing = time_candidates(findings, consensus_calls, dict.fromkeys(consensus_calls, 1), max(1, steps // 4), rounds)
    add_times(
        findings, timing, max(1, steps // 4), dict.fromkeys(consensus_calls, 1), f"DCGAN-64, batch {batch}, consensus"
    )
