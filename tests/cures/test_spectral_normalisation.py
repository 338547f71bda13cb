"""Tests of `SpectralNormalisation`."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn

from detente.cures.spectral_normalisation import SpectralNormalisation

Make = Callable[..., Any]


def test_spectral_normalisation(case: Make, game: Make, trains: Make) -> None:
    ill = case("unbounded critic")
    changed, _ = trains(ill, SpectralNormalisation()(ill))
    layers = [layer for layer in changed.modules["discriminator"].modules() if isinstance(layer, nn.Linear)]
    for layer in layers:
        assert float(torch.linalg.matrix_norm(layer.weight.detach(), 2)) == pytest.approx(1.0, rel=0.05)
    assert SpectralNormalisation()(case("unbounded critic", game=changed)) is None
    assert SpectralNormalisation.changes_networks
    own = case("collapse", game=game("networks"))
    trains(own, SpectralNormalisation()(own))
