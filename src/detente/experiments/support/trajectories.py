"""Trajectories of methods on functions of two variables."""

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


def load_or_compute(path: Path, compute: Callable[[], Sequence[np.ndarray]]) -> list[np.ndarray]:
    """Load trajectories from a file, or compute and store them if there is none."""
    if not path.exists():
        partial_path = path.with_suffix(".part.npz")
        np.savez_compressed(partial_path, *compute())
        partial_path.replace(path)
    with np.load(path) as file:
        return [file[name] for name in file.files]


def deterministic_trajectories(
    games: list[LowDimensional], method: Method, steps: int, name: str, track: Track
) -> list[np.ndarray]:
    """Return the trajectory of a deterministic method on each game, (steps + 1, 2), all computed in one batch.

    The games may differ only in their starting points.
    """
    states = [method.initial(game, torch.Generator()).tree() for game in games]
    flat_states = [flatten(state) for state in states]
    states_by_game = unflatten(
        {key: torch.stack([flat_state[key] for flat_state in flat_states]) for key in flat_states[0]}, states[0]
    )
    game = games[0]
    batches = ({},) * method.draws(game)  # these games have no random input

    def step_once(game_state: Tree) -> Tree:
        return method.step(game, State(**game_state), batches)[0].tree()

    points = [_points(states_by_game)]
    for _ in track(range(steps), name, steps):
        states_by_game = torch.vmap(step_once)(states_by_game)
        points.append(_points(states_by_game))
    return list(np.stack(points, 1))


def accept_reject_trajectories(
    games: list[LowDimensional], method: Method, proposals: int, name: str, track: Track
) -> list[np.ndarray]:
    """Return the trajectory on each game, (points, 3): x, y and whether the method stopped; game i has seed i."""
    return [_until_stopped(game, method, proposals, seed) for seed, game in enumerate(track(games, name, len(games)))]


def _until_stopped(game: LowDimensional, method: Method, proposals: int, seed: int) -> np.ndarray:
    generator = torch.Generator().manual_seed(seed)
    state = method.initial(game, generator)
    points = [(*_point(state.vectors), 0.0)]
    for _ in range(proposals):
        random_input = draw(game, method, state, generator)
        state, info = method.step(game, state, random_input.batches, random_input.noise)
        points.append((*_point(state.vectors), float(info.extra["stopped"])))
        if points[-1][2]:
            break
    return np.array(points)


def _point(vectors: dict[str, torch.Tensor]) -> tuple[float, float]:
    return float(vectors["x"]), float(vectors["y"])


def _points(states_by_game: Tree) -> np.ndarray:
    return torch.cat([states_by_game["vectors"]["x"], states_by_game["vectors"]["y"]], 1).numpy()
