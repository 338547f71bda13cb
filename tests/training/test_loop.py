"""The loop's ticks: when they come, what they hold, seeds that diverge, and that measuring changes nothing."""

from __future__ import annotations

import math
import traceback
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch

import detente
from detente import methods
from detente.errors import InvalidValue
from detente.fields.gradient import Gradient
from detente.game import Batch, Buffers, Game, Vectors
from detente.games.quadratic import Bilinear, Quadratic
from detente.methods.method import Method
from detente.optimizers.sgd import SGD
from detente.schemes.simultaneous import Simultaneous
from detente.training.loop import Tick, initial_progress, train
from detente.training.run import Run
from detente.training.step import draw
from detente.training.stepper import Stepper
from tests.training.small_runs import assert_same_bits, carried, last, ring

PACKAGE = Path(detente.__file__).parent
PLAIN = Method(Gradient(), Simultaneous(), SGD(0.1))


class Fragile(Game):
    """Quadratic; the seeds whose starting point is above `edge` run away until they overflow."""

    def __init__(self, edge: float) -> None:
        self.edge = edge

    @property
    def players(self) -> tuple[str, ...]:
        return ("x", "y")

    def initial(self, generator: torch.Generator) -> tuple[Vectors, Buffers]:
        at = torch.rand(2, generator=generator)
        return {"x": at[:1].clone(), "y": at[1:].clone()}, {}

    def losses(
        self, vectors: Vectors, buffers: Buffers, batch: Batch, players: tuple[str, ...] | None = None
    ) -> tuple[dict[str, torch.Tensor], Buffers]:
        away = torch.where(vectors["x"] > self.edge, -300.0 * vectors["x"] ** 2, 0.5 * vectors["x"] ** 2).sum()
        return {"x": away, "y": (vectors["y"] ** 2).sum()}, buffers


def by_hand(run: Run, seed: int) -> int | None:
    """Return the first step with a non-finite loss or gradient norm, by single steps."""
    progress = initial_progress(run, seed)
    generator, state = torch.Generator(), progress.state
    generator.set_state(progress.random)
    for step in range(1, run.steps + 1):
        drawn = draw(run.game, run.method, state, generator)
        state, info = run.method.step(run.game, state, drawn.batches, drawn.noise)
        if not all(map(math.isfinite, [*map(float, info.losses.values()), *map(float, info.gradient_norm.values())])):
            return step
    return None


def ticks(**settings: Any) -> list[Tick]:
    return list(train(Run(**{"game": Bilinear(2), "method": PLAIN, "compile": "off", **settings})))


@pytest.mark.parametrize(
    ("settings", "steps", "measured"),
    [
        ({"steps": 7, "record_every": 3, "measure_every": 7}, [0, 3, 6, 7], [0, 7]),
        ({"steps": 6, "record_every": 6, "measure_every": 2}, [0, 2, 4, 6], [0, 2, 4, 6]),
        ({"steps": 5, "record_every": 9, "measure_every": 9}, [0, 5], [0, 5]),
        ({"steps": 1}, [0, 1], [0, 1]),
        ({"steps": 4, "record_every": 1, "measure_every": 3}, [0, 1, 2, 3, 4], [0, 3, 4]),
    ],
)
def test_ticks_come_at_the_requested_steps(settings: dict[str, int], steps: list[int], measured: list[int]) -> None:
    received = ticks(**settings)
    assert [tick.step for tick in received] == steps
    assert [tick.step for tick in received if tick.metrics] == measured
    assert [tick.progress[0].step for tick in received] == steps


def test_a_tick_holds_the_mean_of_its_steps() -> None:
    single, third = (ticks(steps=6, record_every=single, measure_every=6) for single in (1, 3))
    for index in (1, 2):
        of_three = [single[step].infos[0] for step in range(3 * index - 2, 3 * index + 1)]
        for player in ("x", "y"):
            torch.testing.assert_close(
                third[index].infos[0].losses[player], sum(info.losses[player] for info in of_three) / 3
            )
            torch.testing.assert_close(
                third[index].infos[0].gradient_norm[player], sum(info.gradient_norm[player] for info in of_three) / 3
            )


def test_seeds_differ_and_are_repeated_exactly() -> None:
    run = Run(ring(), PLAIN, steps=3, seeds=(0, 1), compile="off")
    final = last(run)
    assert_same_bits(final, last(run))
    assert not torch.equal(final["0/vectors/generator"], final["1/vectors/generator"])


def test_the_global_random_state_and_thread_count_do_not_change() -> None:
    state, threads = torch.get_rng_state(), torch.get_num_threads()
    run = Run(ring(dropout=True), methods.alternating(), steps=2, compile="off", threads=threads + 1)
    for _ in train(run):
        assert torch.get_num_threads() == threads
    assert torch.equal(torch.get_rng_state(), state)


@pytest.mark.parametrize("record_every", [1, 4, 40])
@pytest.mark.parametrize("seeds", [(0, 1, 2, 3), (0, 2)])
def test_a_diverging_seed_is_reported_with_its_step_and_the_others_continue(
    seeds: tuple[int, ...], record_every: int
) -> None:
    game = Fragile(edge=0.6)
    run = Run(game, PLAIN, steps=40, seeds=seeds, record_every=record_every, compile="off", samples=1)
    expected = {seed: by_hand(run, seed) for seed in seeds}
    lost = {seed for seed, step in expected.items() if step is not None}
    assert lost and lost != set(seeds), "the game should lose some seeds and keep others"
    assert all(2 < expected[seed] < 40 for seed in lost)  # type: ignore[operator]

    ticks_received = list(train(run))
    assert {progress.seed: progress.diverged_at for progress in ticks_received[-1].progress} == expected
    assert ticks_received[-1].step == 40
    surviving = tuple(seed for seed in seeds if seed not in lost)
    undisturbed = last(replace(run, seeds=surviving))
    final = carried(ticks_received[-1].progress)
    assert_same_bits({key: final[key] for key in undisturbed}, undisturbed)
    for tick in ticks_received:
        gone = {seed for seed in lost if expected[seed] <= tick.step - record_every}  # type: ignore[operator]
        assert not gone & tick.infos.keys(), "a lost seed's record ends where it was lost"


def test_the_loop_ends_when_every_seed_is_lost() -> None:
    run = Run(Fragile(edge=-1.0), PLAIN, steps=10_000, seeds=(0, 1), record_every=10, compile="off", samples=1)
    received = list(train(run))
    assert received[-1].step < 100
    assert [progress.diverged_at for progress in received[-1].progress] == [by_hand(run, 0), by_hand(run, 1)]


def test_simultaneous_gradient_at_a_huge_rate_diverges_where_theory_says() -> None:
    """On the bilinear game each step multiplies the distance by √(1 + η²): float64 overflows in the product."""
    rate = 1e6
    run = Run(Bilinear(1, start=(1.0, 1.0)), Method(Gradient(), Simultaneous(), SGD(rate)), steps=100, compile="off")
    (progress,) = list(train(run))[-1].progress
    # |x| ≈ η^t at step t, seen by the loss x·y of step t + 1, at most η^(2t)/2; the norm squares too.
    theory = math.log(torch.finfo(torch.float64).max) / (2 * math.log(rate)) + 1
    assert progress.diverged_at == by_hand(run, 0)
    assert progress.diverged_at is not None and abs(progress.diverged_at - theory) <= 1.5


def test_auto_compiling_does_not_depend_on_the_remaining_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    """Compiled and eager steps round differently: resumed near its end, a compiled run has to continue compiled."""
    from detente.training import execution

    monkeypatch.setattr(execution, "WORTH_COMPILING", 8)
    monkeypatch.setattr(execution, "_has_compiler", lambda: True)
    choices: list[bool] = []

    def counted(game: Game, method: Method, chunk: int, compiled: bool, mapped: bool) -> Callable:
        choices.append(compiled)
        return eager(game, method, chunk, False, mapped)

    eager = execution.Steps
    monkeypatch.setattr(execution, "Steps", counted)
    run = Run(Bilinear(2), PLAIN, steps=8)
    received = list(train(run))
    list(train(run, received[-2].progress))
    list(train(replace(run, steps=7)))
    assert choices == [True, True, False]


@pytest.mark.parametrize(
    ("settings", "field"),
    [
        ({"steps": 0}, "steps"),
        ({"samples": 0}, "samples"),
        ({"seeds": ()}, "seeds"),
        ({"seeds": (1, 1)}, "seeds"),
        ({"seeds": (-1,)}, "seeds"),
        ({"seeds": (2**32,)}, "seeds"),
        ({"record_every": 0}, "record_every"),
        ({"measure_every": -3}, "measure_every"),
        ({"checkpoint_every": 0}, "checkpoint_every"),
        ({"threads": 0}, "threads"),
        ({"compile": "maybe"}, "compile"),
        ({"device": "abacus"}, "device"),
        ({"method": methods.alternating(order=("x", "x"))}, "order"),
        ({"method": methods.alternating(learning_rate={"a": 0.1, "b": 0.1})}, "optimizer"),
    ],
)
def test_invalid_runs_are_refused_with_the_name_of_the_field(settings: dict[str, Any], field: str) -> None:
    with pytest.raises(InvalidValue) as refused:
        Run(**{"game": Quadratic(), "method": PLAIN, **settings})
    assert refused.value.field == field


# ---- How deep a step is --------------------------------------------------------------------------------------------


class Counted(torch.nn.Linear):
    """A layer that notes the frames and files of this library on the stack when its forward is called in a step."""

    depths: set[tuple[int, int]] = set()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        frames = [(Path(frame.filename), frame.name) for frame in traceback.extract_stack()]
        ours = [(path.relative_to(PACKAGE).as_posix(), name) for path, name in frames if path.is_relative_to(PACKAGE)]
        advance, step = ("training/loop.py", "_advance"), ("training/stepper.py", "step")
        if advance in ours or step in ours:
            path = ours[ours.index(advance) - 1 :] if advance in ours else ours[ours.index(step) :]  # from `_ticks` on
            self.depths.add((len(path), len({file for file, _ in path})))
        return super().forward(x)


POINTS = torch.randn(32, 2, generator=torch.Generator().manual_seed(0))


def counted(**settings: Any) -> Game:
    return detente.Adversarial(partial(Counted, 3, 2), partial(Counted, 2, 1), POINTS, latent=3, batch=8, **settings)


def counted_networks() -> Game:
    def losses(net: Any, batch: Any) -> dict[str, Any]:
        fake = net.generator(batch["real"])
        return {
            "generator": lambda: -net.discriminator(fake).mean(),
            "discriminator": lambda: net.discriminator(fake).mean() - net.discriminator(batch["real"]).mean(),
        }

    players = {"generator": partial(Counted, 2, 2), "discriminator": partial(Counted, 2, 1)}
    return detente.Networks(players, losses, POINTS, batch=8)


@pytest.mark.parametrize(
    ("name", "make", "frames", "files"),
    [
        ("alternating", counted, 11, 9),
        ("simultaneous", counted, 11, 9),
        ("extragradient", counted, 11, 9),
        ("consensus", counted, 11, 9),
        ("alternating", counted_networks, 11, 9),
        ("lookahead", counted, 12, 10),  # a scheme in a scheme
        ("svrg", partial(counted, fixed_latents=True), 12, 9),  # the snapshot; 11 in a step
        ("sgan", counted, 19, 11),  # all pairs in one mapped step, each with the scheme of a pair
    ],
)
def test_few_frames_lie_between_train_and_a_networks_forward(
    name: str, make: Callable[[], Game], frames: int, files: int
) -> None:
    game, method = make(), methods.names()[name]()
    Counted.depths.clear()
    for _ in train(Run(game, method, steps=1)):
        pass
    assert Counted.depths
    Stepper(game, method).step()
    assert max(frame_count for frame_count, _ in Counted.depths) <= frames
    assert max(file_count for _, file_count in Counted.depths) <= files
