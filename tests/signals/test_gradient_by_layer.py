"""GradientByLayer: norms equal those of autograd, and gradients that vanish."""

import numpy as np
import pytest
import torch

from detente.signals.gradient_by_layer import GradientByLayer
from tests.signals.conftest import Observe, Past, plane_game


def test_norms_are_those_of_autograd(observe: Observe) -> None:
    observation = observe(plane_game())
    game, state = observation.game, observation.state
    leaves = {name: vector.clone().requires_grad_() for name, vector in state.vectors.items()}
    losses, _ = game.losses(leaves, state.buffers, observation.batch)
    (block,) = torch.autograd.grad(losses["generator"], leaves["generator"])
    values = GradientByLayer()(observation)
    assert values["generator"] == pytest.approx(float(block.norm()), rel=1e-5)
    first, last = block[:32], block[48:80]  # the weights of the layers 2–16 and 16–2
    ratio = float(first.square().mean().sqrt() / last.square().mean().sqrt())
    assert values["first_to_last"] == pytest.approx(ratio, rel=1e-5)
    assert values["silent"] == 0


def test_vanished(past: Past) -> None:
    name, far = "gradient_by_layer.generator", {"spread.distance": 0.9}
    exact = GradientByLayer().findings(past({name: np.r_[np.ones(5), np.zeros(8)], **far}))[0]
    fallen = GradientByLayer().findings(past({name: np.r_[np.ones(5), np.full(8, 1e-4)], **far}))[0]
    ratio = GradientByLayer().findings(past({name: 1.0, "gradient_by_layer.first_to_last": 1e-4, **far}))[0]
    lost = GradientByLayer().findings(past({name: 1.0, "gradient_by_layer.first_to_last": 1e-7}))[0]
    same = GradientByLayer().findings(past({name: 1.0, "gradient_by_layer.latent": 1e-9}))[0]
    assert {finding.failure for finding in (exact, fallen, ratio, lost, same)} == {"vanishing gradient"}
    assert exact.certainty > same.certainty > lost.certainty > ratio.certainty
    assert exact.certainty > fallen.certainty > ratio.certainty
    assert exact.certainty >= 0.95


def test_an_ordinary_gradient(past: Past) -> None:
    values = {"gradient_by_layer.generator": np.linspace(1, 0.05, 13), "gradient_by_layer.first_to_last": 0.1}
    assert not GradientByLayer().findings(past({**values, "spread.distance": 0.9, "gradient_by_layer.silent": 0.0}))
