"""The stochastic bilinear game against its formula written out with dense matrices."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from detente.autodiff import jacobian, vector_field
from detente.cli.naming import loaded
from detente.errors import InvalidValue
from detente.games.stochastic_bilinear import StochasticBilinear
from detente.registry import choices


def test_losses_equal_the_formula() -> None:
    game = StochasticBilinear(5, batch=3, seed=4)
    vectors, _ = game.initial(torch.Generator().manual_seed(1))
    x, y = (vectors[name].numpy() for name in game.players)
    a, b = game.of_x.numpy(), game.of_y.numpy()
    indices = [4, 0, 4]
    units = np.eye(5)
    expected = np.mean([x @ np.outer(units[i], units[i]) @ y + a[i] @ x + b[i] @ y for i in indices])
    losses, _ = game.losses(vectors, {}, {"term": torch.tensor(indices)})
    assert float(losses["x"]) == pytest.approx(expected, rel=1e-13)
    assert float(losses["y"]) == pytest.approx(-expected, rel=1e-13)


def test_the_solution_is_where_the_whole_gradient_vanishes_but_not_its_terms() -> None:
    game = StochasticBilinear(6, batch=2)
    (whole,) = game.parts(6)
    assert game.solution is not None
    at = vector_field(game, game.solution, {}, whole).field
    assert all(float(block.norm()) < 1e-14 for block in at.values())
    assert all(vector_field(game, game.solution, {}, part).field["x"].norm() > 0.1 for part in game.parts(1))
    dense = jacobian(game, game.solution, {}, whole).numpy()
    np.testing.assert_allclose(dense, np.kron([[0, 1], [-1, 0]], np.eye(6)) / 6, atol=1e-15)


def test_parts_hold_every_term_once_and_draws_are_uniform() -> None:
    game, generator = StochasticBilinear(7, batch=3), torch.Generator().manual_seed(0)
    assert torch.cat([part["term"] for part in game.parts()]).tolist() == list(range(7))
    assert [len(part["term"]) for part in game.parts()] == [3, 3, 1]
    drawn = torch.cat([game.draw(generator)["term"] for _ in range(700)])
    counts = drawn.bincount(minlength=7)
    assert len(counts) == 7 and (counts - 300).abs().max() < 5 * 300**0.5


def test_noise_has_the_papers_variance_and_depends_on_the_seed_alone() -> None:
    game, same, other = StochasticBilinear(), StochasticBilinear(), StochasticBilinear(seed=1)
    assert game.size == 100 and float(game.of_x.var()) == pytest.approx(1 / 100, rel=0.05)
    assert torch.equal(game.of_y, same.of_y) and not torch.equal(game.of_y, other.of_y)
    starts = [game.initial(torch.Generator().manual_seed(seed))[0]["x"] for seed in (0, 0, 1)]
    assert torch.equal(starts[0], starts[1]) and not torch.equal(starts[0], starts[2])


def test_it_is_registered_and_refuses_invalid_arguments() -> None:
    assert loaded(choices("games")["stochastic_bilinear"]) is StochasticBilinear
    with pytest.raises(InvalidValue, match="batch: got 6"):
        StochasticBilinear(5, batch=6)
    with pytest.raises(InvalidValue, match="start"):
        StochasticBilinear(5, start=[1.0] * 5)
