"""Path angle, rotation, and pictures in the plane, where closed forms are known."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from detente.diagnostics.field_on_grid import field_on_grid, level_sets
from detente.diagnostics.path_angle import path_angle
from detente.diagnostics.rotation import cosine_to, hamiltonian_share, imaginary_share
from detente.errors import InvalidValue
from detente.fields.consensus import Consensus
from detente.game import Game
from detente.games.low_dimensional import LowDimensional
from detente.games.presets.points import ring
from detente.games.quadratic import Bilinear, Quadratic
from detente.state import State


def at(game: Game, *numbers: float) -> State:
    parts = torch.tensor(numbers).double().split([len(numbers) // 2] * 2)
    return State(torch.zeros((), dtype=torch.int64), dict(zip(game.players, parts, strict=True)))


def test_path_to_an_attracting_point_switches_its_sign_there() -> None:
    game = Quadratic([[2.0]], [[0.0]], [[2.0]])
    path = path_angle(game, at(game, 3.0, 4.0), at(game, 0.0, 0.0), {}, points=8, extent=(0.1, 1.5))
    torch.testing.assert_close(path.norm, 10 * (1 - path.position).abs())
    torch.testing.assert_close(path.angle, torch.where(path.position < 1, -1.0, 1.0).double())


def test_path_angle_beside_a_centre_has_a_maximum() -> None:
    """On the line (α, 1) the bilinear field is (1, −α), so c = 1/√(1+α²)."""
    game = Bilinear()
    path = path_angle(game, at(game, 0.0, 1.0), at(game, 1.0, 1.0), {}, extent=(-1.0, 1.0))
    torch.testing.assert_close(path.angle, 1 / (1 + path.position.square()).sqrt())


def test_path_needs_two_states() -> None:
    game = Bilinear()
    with pytest.raises(InvalidValue, match="second"):
        path_angle(game, at(game, 0.0, 1.0), at(game, 0.0, 1.0), {})


def test_imaginary_share() -> None:
    shares = imaginary_share(torch.tensor([1 + 0j, 2j, 3 + 4j, 0j, -1 - 1j]))
    torch.testing.assert_close(shares, torch.tensor([0.0, 1.0, 0.8, 0.0, math.sqrt(0.5)]))


def test_hamiltonian_share() -> None:
    assert hamiltonian_share(torch.tensor([[0.0, 2.0], [-2.0, 0.0]])) == 1
    assert hamiltonian_share(torch.tensor([[1.0, 2.0], [2.0, 0.0]])) == 0
    assert hamiltonian_share(torch.tensor([[1.0, 1.0], [-1.0, 1.0]])) == pytest.approx(0.5)
    assert hamiltonian_share(torch.zeros(2, 2)) == 0


def test_cosine_to_the_solution_of_a_bilinear_and_a_convex_game() -> None:
    circling, bowl = Bilinear(scale=3.0), Quadratic([[1.0]], [[0.0]], [[1.0]])
    for game, expected in ((circling, 0.0), (bowl, 1.0)):
        assert game.solution is not None
        assert cosine_to(game, at(game, 0.3, -2.0), {}, game.solution) == pytest.approx(expected, abs=1e-12)
    assert math.isnan(cosine_to(bowl, at(bowl, 0.0, 0.0), {}, bowl.solution or {}))


def test_field_on_grid_of_the_bilinear_game() -> None:
    game = LowDimensional("xy")
    grid = field_on_grid(game, at(game, 0.0, 0.0), {}, (-1.0, 1.0, -2.0, 2.0), resolution=5)
    torch.testing.assert_close(grid.x, torch.linspace(-1, 1, 5).double())
    torch.testing.assert_close(grid.y, torch.linspace(-2, 2, 5).double())
    torch.testing.assert_close(grid.u, grid.y[:, None].expand(5, 5))  # ∂(xy)/∂x = y
    torch.testing.assert_close(grid.v, -grid.x[None].expand(5, 5))  # ∂(−xy)/∂y = −x


def test_field_on_grid_of_consensus() -> None:
    """J = [[0, 1], [−1, 0]], so w = v + γ Jᵀv = (y + γx, −x + γy)."""
    game = Bilinear()
    grid = field_on_grid(game, at(game, 0.0, 0.0), {}, (-1, 1, -1, 1), 3, Consensus(0.5))
    torch.testing.assert_close(grid.u, grid.y[:, None] + 0.5 * grid.x[None])
    torch.testing.assert_close(grid.v, -grid.x[None] + 0.5 * grid.y[:, None])


def test_field_on_grid_needs_two_parameters() -> None:
    game = Bilinear(dimension=2)
    with pytest.raises(InvalidValue, match="two parameters"):
        field_on_grid(game, at(game, 0, 0, 0, 0), {}, (-1, 1, -1, 1))
    flat = Bilinear()
    with pytest.raises(InvalidValue, match="extent"):
        field_on_grid(flat, at(flat, 0, 0), {}, (1, -1, -1, 1))


def test_level_sets_are_the_scores_of_the_points() -> None:
    game = ring(width=6, depth=1, batch=8)
    state = State(torch.zeros((), dtype=torch.int64), *game.initial(torch.Generator().manual_seed(0)))
    before, rng = {name: tensor.clone() for name, tensor in state.flat().items()}, torch.get_rng_state()
    levels = level_sets(game, state, (-1.0, 1.0, 0.0, 4.0), resolution=5)
    assert levels.shape == (5, 5) and levels.dtype == torch.float32
    point = torch.tensor([[0.5, 1.0]])  # column 3, row 1
    np.testing.assert_allclose(levels[1, 3], game.scores(state, point)[0], rtol=1e-5)  # type: ignore[attr-defined]
    assert torch.equal(rng, torch.get_rng_state())
    assert all(torch.equal(before[name], tensor) for name, tensor in state.flat().items())


def test_level_sets_need_a_discriminator() -> None:
    game = Bilinear()
    with pytest.raises(InvalidValue, match="discriminator"):
        level_sets(game, at(game, 0, 0), (-1, 1, -1, 1))
