"""What each shortcut saves: `python -m benchmarks.shortcuts [NAME ...]`.

Steps with a shortcut and without it are interleaved in one process on one thread. Each row is the ratio of their CPU
times, with to without, with its quartiles: below 0.92 the shortcut saves at least 8 % of a step.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import replace

import torch

from benchmarks.timing import interleave, threads
from detente import autodiff, methods
from detente.data.arrays import Arrays
from detente.game import SHORTCUTS, Game
from detente.games import presets
from detente.games.adversarial import Adversarial
from detente.methods.method import Method
from detente.modules import calling
from detente.networks.sngan import SnganDiscriminator, SnganGenerator
from detente.training.step import Steps, draw

Turn = Callable[[], object]
ROUNDS = 15


def sngan(objective: str = "hinge") -> Game:
    """Return SNGAN at 32 × 32 pixels, batch 64."""
    images = torch.rand(256, 3, 32, 32, generator=torch.Generator().manual_seed(0)) * 2 - 1
    return Adversarial(SnganGenerator, SnganDiscriminator, Arrays(images), objective=objective, batch=64)


GAMES: dict[str, Callable[[], Game]] = {
    "ring MLP": presets.ring,
    "DCGAN-28, width 32": lambda: presets.digits(width=32, batch=64),
    "DCGAN-28, width 64": lambda: presets.digits(width=64, batch=64),
    "SNGAN-32": sngan,
}
SETUPS = {  # the method by which a shortcut is measured, and the games
    "functional_call": ("alternating", tuple(GAMES)),
    "batch_norm": ("consensus", ("DCGAN-28, width 32", "DCGAN-28, width 64")),
    "forward_cache": ("alternating_shared_batch", tuple(GAMES)),
    "layered_moments": ("covariance_langevin", ("ring MLP",)),
    "layered_jacobian": ("", ("ring MLP",)),
}


def step_of(game: Game, method: Method) -> Turn:
    """Return a function that takes one step."""
    generator = torch.Generator().manual_seed(0)
    state, steps = method.initial(game, generator), Steps(game, method)

    def turn() -> None:
        nonlocal state
        prepared = method.prepare(game, state, generator)
        (state,), _ = steps([prepared], [[draw(game, method, prepared, generator)]], donate=True)

    return turn


def jacobian_of(game: Game) -> Turn:
    """Return a function that computes the dense Jacobian."""
    generator = torch.Generator().manual_seed(0)
    vectors, buffers = game.initial(generator)
    batch = game.draw(generator)
    return lambda: autodiff.jacobian(game, vectors, buffers, batch)


def without(game: Game, shortcut: str) -> Game:
    """Return a game that does not use a shortcut."""
    others = tuple(name for name in SHORTCUTS if name != shortcut)
    return game.with_settings(replace(game.evaluation_settings, shortcuts=others))


def torchs(turn: Turn) -> Turn:
    """Return a turn in which modules are called by `torch.func.functional_call`."""

    def with_torchs() -> None:
        original = calling.functional_call
        calling.functional_call = torch.func.functional_call
        try:
            turn()
        finally:
            calling.functional_call = original

    return with_torchs


def turns(shortcut: str, method: str, game: Game) -> tuple[Turn, Turn]:
    """Return a turn with a shortcut, and one without."""
    if shortcut == "functional_call":
        return step_of(game, methods.names()[method]()), torchs(step_of(game, methods.names()[method]()))
    if not method:
        return jacobian_of(game), jacobian_of(without(game, shortcut))
    return tuple(step_of(variant, methods.names()[method]()) for variant in (game, without(game, shortcut)))  # type: ignore


def main() -> None:
    """Print a row per shortcut and game."""
    with threads(1):
        for shortcut in sys.argv[1:] or list(SETUPS):
            method, games = SETUPS[shortcut]
            for name in games:
                with_shortcut, without_shortcut = turns(shortcut, method, GAMES[name]())
                timing = interleave({"with": with_shortcut, "without": without_shortcut}, ROUNDS, warm_up=1)
                ratio = timing.processor_ratio("with", "without")
                print(f"{shortcut:18} {method or 'dense Jacobian':25} {name:19} {ratio}", flush=True)


if __name__ == "__main__":
    main()
