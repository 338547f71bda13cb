"""Rotation: eigenvalues of known matrices, and of a game against the dense Jacobian."""

import numpy as np
import pytest
import torch

from detente.autodiff import jacobian
from detente.signals.rotation import Rotation, _eigenvalues
from tests.signals.conftest import Observe, Past, mlp, plane, plane_game

STARTS = (torch.tensor([1.0, 0.0]), torch.tensor([0.0, 1.0]))


@pytest.mark.parametrize("matrix", [[[0.0, 1.0], [-1.0, 0.0]], [[2.0, 0.0], [0.0, 3.0]], [[0.5, 2.0], [-2.0, 0.5]]])
def test_eigenvalues_of_two_by_two_matrices(matrix: list[list[float]]) -> None:
    dense = torch.tensor(matrix)
    values = _eigenvalues(lambda u: dense.T @ u, STARTS, 0)
    expected = np.linalg.eigvals(np.array(matrix))
    assert np.sort_complex(values) == pytest.approx(np.sort_complex(expected), abs=1e-6)


def test_a_whole_krylov_space_has_the_spectrum() -> None:
    dense = torch.randn(6, 6, generator=torch.Generator().manual_seed(0))
    starts = [torch.eye(6)[0], torch.eye(6)[1]]
    values = _eigenvalues(lambda u: dense.T @ u, starts, 4)
    assert np.sort_complex(values) == pytest.approx(np.sort_complex(np.linalg.eigvals(dense.numpy())), abs=1e-4)


def test_a_small_game_against_its_dense_jacobian(observe: Observe) -> None:
    from detente import Adversarial

    game = Adversarial(lambda: mlp(2, 2), lambda: mlp(2, 1), plane(), 2, batch=32)  # 6 and 3 parameters
    observation = observe(game)
    state = observation.state
    dense = jacobian(game, state.vectors, state.buffers, observation.batch).double().numpy()
    exact = np.linalg.eigvals(dense)
    values = Rotation()(observation)
    assert values["imaginary"] == pytest.approx(np.abs(exact.imag).max(), rel=0.1)


def test_path_angle(observe: Observe) -> None:
    observation = observe(plane_game())
    blocks = {name: observation.gradients[role].field[name] for role, name in observation.players().items()}
    behind = {name: observation.state.vectors[name] + blocks[name] for name in blocks}  # a step of descent before
    values = Rotation()(observe(observation.game, before=behind, steps=1))
    assert values["path_angle"] == pytest.approx(1, abs=1e-3)


def test_finding(past: Past) -> None:
    values = {
        "rotation.imaginary_share": 0.99,
        "rotation.path_angle": 0.0,
        "oscillation.mean_0": 2 * np.sin(np.arange(13)),
        "spread.distance": 0.9,
    }
    (finding,) = Rotation().findings(past(values))
    assert finding.failure == "oscillation or limit cycle"
    assert not Rotation().findings(past({**values, "rotation.imaginary_share": 0.5}))
    assert not Rotation().findings(past({**values, "oscillation.mean_0": 0.1}))
    assert not Rotation().findings(past({**values, "spread.distance": np.linspace(0.9, 0.1, 13)}))
