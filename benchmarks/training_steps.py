"""Steps of a hand-written loop and of détente, with the same method, networks, data and initial parameters."""

from __future__ import annotations

import copy
from collections.abc import Callable

import torch

from benchmarks.loops import LOOPS
from detente import methods
from detente.game import EvaluationSettings, Game
from detente.games.adversarial import Adversarial
from detente.methods.method import Method
from detente.optimizers.adam import Adam
from detente.state import State
from detente.training.step import Steps, draw

RATE = 1e-4


def method_of(kind: str, rate: float = RATE) -> Method:
    """Return a method with the optimizer of the loops, Adam with β₁ = 0.5."""
    return methods.names()[kind](optimizer=Adam(rate, (0.5, 0.999)))


def loop_step(game: Game, kind: str, rate: float = RATE, seed: int = 0) -> Callable[[], None]:
    """Return one step of the hand-written loop, with the same initial parameters as `detente_steps`."""
    assert isinstance(game, Adversarial)
    generator = torch.Generator().manual_seed(seed)
    state = State(torch.zeros(()), *game.initial(generator))
    modules = [copy.deepcopy(game.modules[name]) for name in game.players]
    game.write(state, *modules)
    return LOOPS[kind](*modules, lambda: game.data.draw(game.batch, generator)["real"], game.latent, rate)


def detente_steps(
    game: Game,
    kind: str,
    compiled: bool = False,
    chunk: int = 1,
    rate: float = RATE,
    seed: int = 0,
    settings: EvaluationSettings | None = None,
) -> Callable[[], None]:
    """Return `chunk` steps of détente, with batches drawn as in a training."""
    method, generator = method_of(kind, rate), torch.Generator().manual_seed(seed)
    state = method.initial(game, generator)
    steps = Steps(game.with_settings(settings or EvaluationSettings()), method, chunk, compiled)

    def run_steps() -> None:
        nonlocal state
        (state,), _ = steps([state], [[draw(game, method, state, generator) for _ in range(chunk)]], donate=True)

    return run_steps
