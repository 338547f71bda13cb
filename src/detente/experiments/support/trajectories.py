"""Paths of methods over functions of two numbers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch

from detente.experiments.base import Track
from detente.games.low_dimensional import LowDimensional
from detente.methods.method import Method
from detente.state import State, Tree, flatten, unflatten
from detente.training.step import draw


def load_or_compute(path: Path, walk: Callable[[], Sequence[np.ndarray]]) -> list[np.ndarray]:
    """Return the paths that an earlier call left in a file, or walk them and leave them there."""
    if not path.exists():
        part = path.with_suffix(".part.npz")
        np.savez_compressed(part, *walk())
        part.replace(path)
    with np.load(path) as file:
        return [file[name] for name in file.files]


def deterministic_trajectories(
    games: list[LowDimensional], method: Method, steps: int, name: str, track: Track
) -> list[np.ndarray]:
    """Return the paths of a method that never stops, one a game, (steps + 1, 2), all walked at once.

    The games may differ in their starts only.
    """
    states = [method.initial(game, torch.Generator()).tree() for game in games]
    flats = [flatten(state) for state in states]
    walkers = unflatten({key: torch.stack([flat[key] for flat in flats]) for key in flats[0]}, states[0])
    game = games[0]
    batches = ({},) * method.draws(game)  # nothing in these games is drawn

    def stepped(walker: Tree) -> Tree:
        return method.step(game, State(**walker), batches)[0].tree()

    points = [_points(walkers)]
    for _ in track(range(steps), name, steps):
        walkers = torch.vmap(stepped)(walkers)
        points.append(_points(walkers))
    return list(np.stack(points, 1))


def accept_reject_trajectories(
    games: list[LowDimensional], method: Method, proposals: int, name: str, track: Track
) -> list[np.ndarray]:
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


def _points(walkers: Tree) -> np.ndarray:
    return torch.cat([walkers["vectors"]["x"], walkers["vectors"]["y"]], 1).numpy()
