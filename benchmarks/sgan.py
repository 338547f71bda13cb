"""SGAN's step with five small pairs, compared with a Python loop over pairs; and the memory of SVRG and SGAN."""

from __future__ import annotations

import copy
import time
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn.functional import softplus

from benchmarks.row import Row, milliseconds
from benchmarks.timing import interleave, threads
from detente import methods
from detente.game import Game
from detente.games import presets
from detente.games.adversarial import Adversarial
from detente.methods.method import Method
from detente.optimizers.adam import Adam
from detente.state import flatten
from detente.training.step import Steps, draw

PAIRS, RATE, BETAS = 5, 1e-4, (0.5, 0.999)


def run(quick: bool) -> list[Row]:
    """Return times of eager and compiled steps as shares of the loop's time, and copies of networks in the state."""
    game = presets.ring()
    assert isinstance(game, Adversarial)
    method = methods.sgan(PAIRS, optimizer=Adam(RATE, BETAS), messenger_steps=1)  # as the loop
    rows = []
    with threads(1):
        compiled = _detente_step(game, method, compiled=True)
        start = time.perf_counter()
        compiled()
        compile_seconds = time.perf_counter() - start
        candidates = {"loop": loop_step(game), "eager": _detente_step(game, method), "compiled": compiled}
        timing = interleave(candidates, rounds=7 if quick else 31)
    for name in ("eager", "compiled"):
        detail = f"loop {milliseconds(timing.median('loop'))}, ours {milliseconds(timing.median(name))}"
        detail += f"; {compile_seconds:.0f} s until the first step" if name == "compiled" else ""
        rows.append(Row.of(f"SGAN, {PAIRS} pairs, {name}", timing.ratio(name, "loop"), target=0.5, detail=detail))
    rows.append(_copies_row("SGAN: copies of a pair in the state, optimizer's not counted", game, method, PAIRS + 1))
    finite = presets.ring(points=5120)
    rows.append(_copies_row("SVRG: copies of both players in the state, their own counted", finite, methods.svrg(), 3))
    return rows


def _copies_row(what: str, game: Game, method: Method, target: float) -> Row:
    generator = torch.Generator().manual_seed(0)
    state = method.prepare(game, method.initial(game, generator), generator)
    parameter_count = sum(vector.numel() for vector in state.vectors.values())
    stored_tensors = flatten(
        {"vectors": state.vectors, "field": state.memory["field"], "scheme": state.memory["scheme"]}
    )
    copies = (
        sum(tensor.numel() for path, tensor in stored_tensors.items() if "optimizers" not in path) / parameter_count
    )
    return Row(what, copies, copies, copies, target=target + 0.01, detail=f"{parameter_count:,} parameters a pair")


def _detente_step(game: Adversarial, method: Method, compiled: bool = False) -> Callable[[], None]:
    generator = torch.Generator().manual_seed(0)
    state, steps = method.initial(game, generator), Steps(game, method, compiled=compiled)

    def run_step() -> None:
        nonlocal state
        (state,), _ = steps([state], [[draw(game, method, state, generator)]], donate=True)

    return run_step


def loop_step(game: Adversarial) -> Callable[[], None]:
    """Return a hand-written step of Algorithm 1: ordinary modules, one pair after the other."""
    random_generator = torch.Generator().manual_seed(0)

    def fresh() -> tuple[nn.Module, nn.Module]:
        modules = [copy.deepcopy(game.modules[name]) for name in game.players]
        for module in modules:
            for parameter in module.parameters():
                nn.init.normal_(parameter, std=0.3, generator=random_generator)
        return modules[0], modules[1]

    def adam(module: nn.Module) -> torch.optim.Adam:
        return torch.optim.Adam(module.parameters(), lr=RATE, betas=BETAS)

    pairs = [fresh() for _ in range(PAIRS)]
    optimizers = [(adam(generator), adam(discriminator)) for generator, discriminator in pairs]
    generator_0, discriminator_0 = fresh()
    optimizer_g0, optimizer_d0 = adam(generator_0), adam(discriminator_0)

    def generate(generator: nn.Module) -> Tensor:
        return generator(torch.randn(game.batch, game.latent))

    def real() -> Tensor:
        return game.data.draw(game.batch, random_generator)["real"]

    def loss_d(discriminator: nn.Module, generator: nn.Module) -> Tensor:
        fake = generate(generator).detach()
        return softplus(-discriminator(real())).mean() + softplus(discriminator(fake)).mean()

    def loss_g(discriminator: nn.Module, generator: nn.Module) -> Tensor:
        return softplus(-discriminator(generate(generator))).mean()

    def minimise(optimizer: torch.optim.Optimizer, loss: Tensor) -> None:
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()

    def step() -> None:
        messengers = []
        for (generator, discriminator), (adam_g, adam_d) in zip(pairs, optimizers, strict=True):
            minimise(adam_d, loss_d(discriminator, generator))
            minimise(adam_g, loss_g(discriminator, generator))
            messenger = copy.deepcopy(discriminator)
            optimizer = adam(messenger)
            optimizer.load_state_dict(copy.deepcopy(adam_d.state_dict()))
            minimise(optimizer, loss_d(messenger, generator_0))
            messengers.append(messenger)
        optimizer_g0.zero_grad()
        for messenger in messengers:
            loss_g(messenger, generator_0).backward()
        optimizer_g0.step()
        optimizer_d0.zero_grad()
        for generator, _ in pairs:
            loss_d(discriminator_0, generator).backward()
        optimizer_d0.step()

    return step
