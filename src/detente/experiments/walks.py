"""Paths of methods over functions of two numbers."""

from __future__ import annotations

import numpy as np
import torch

from detente.experiments.base import Track
from detente.games.low_dimensional import LowDimensional
from detente.method import Method
from detente.training.step import Steps, draw


def walked(
    game: LowDimensional, method: Method, starts: list[tuple[float, ...]], steps: int, name: str, track: Track
) -> np.ndarray:
    """Return the paths of a method that never stops, (starts, steps + 1, 2), all walked at once."""
    generator = torch.Generator().manual_seed(0)
    games = [LowDimensional(game.function, game.bound, start) for start in starts]
    states = [method.initial(one, generator) for one in games]
    take = Steps(game, method, mapped=len(starts) > 1)
    points = [[_point(state.vectors) for state in states]]
    for _ in track(range(steps), name, steps):
        states, _ = take(states, [[draw(game, method, state, generator)] for state in states])
        points.append([_point(state.vectors) for state in states])
    return np.array(points).transpose(1, 0, 2)


def proposed(games: list[LowDimensional], method: Method, proposals: int, name: str, track: Track) -> list[np.ndarray]:
    """Return one path a game, (points, 3): x, y and whether the method stopped there; each with a seed of its own."""
    return [_until_stopped(game, method, proposals, seed) for seed, game in enumerate(track(games, name, len(games)))]


def _until_stopped(game: LowDimensional, method: Method, proposals: int, seed: int) -> np.ndarray:
    generator = torch.Generator().manual_seed(seed)
    state = method.initial(game, generator)
    points = [(*_point(state.vectors), 0.0)]
    for _ in range(proposals):
        drawn = draw(game, method, state, generator)
        state, info = method.step(game, state, drawn.batches, drawn.noise)
        points.append((*_point(state.vectors), float(info.extra["stopped"])))
        if points[-1][2]:
            break
    return np.array(points)


def _point(vectors: dict[str, torch.Tensor]) -> tuple[float, float]:
    return float(vectors["x"]), float(vectors["y"])
