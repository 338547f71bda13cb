"""Fully connected networks: sizes, formulas, and initial weights against PyTorch's own."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import nn

from detente.errors import InvalidValue
from detente.networks.mlp import MLP
from detente.registry import members


def linears(network: nn.Module) -> list[nn.Linear]:
    return [layer for layer in network.modules() if isinstance(layer, nn.Linear)]


def test_networks_are_found_by_name() -> None:
    assert {"mlp", "dcgan_generator", "dcgan_discriminator"} <= set(members("networks"))


@pytest.mark.parametrize(("outputs", "depth"), [(2, 4), (1, 1), (3, 0)])
def test_layers_parameters_and_shape(outputs: int, depth: int) -> None:
    network = MLP(16, outputs, 8, depth)
    expected = (16 * 8 + 8) + (depth - 1) * (8 * 8 + 8) + (8 * outputs + outputs) if depth else 16 * outputs + outputs
    assert sum(p.numel() for p in network.parameters()) == expected
    assert len(linears(network)) == depth + 1
    assert network(torch.zeros(5, 16)).shape == (5, outputs)


@pytest.mark.parametrize(
    ("activation", "function"),
    [("relu", torch.relu), ("tanh", torch.tanh), ("leaky_relu", lambda x: torch.where(x > 0, x, 0.3 * x))],
)
def test_forward_equals_the_formula(activation: str, function: Any) -> None:
    network = MLP(3, 2, 4, 2, activation=activation, negative_slope=0.3)
    first, second, last = linears(network)
    x = torch.linspace(-2, 2, 15).reshape(5, 3)
    hidden = function(function(x @ first.weight.T + first.bias) @ second.weight.T + second.bias)
    torch.testing.assert_close(network(x), hidden @ last.weight.T + last.bias)


def test_images_are_flattened() -> None:
    network = MLP(12, 1, 4, 1)
    images = torch.linspace(-1, 1, 24).reshape(2, 3, 2, 2)
    torch.testing.assert_close(network(images), network(images.reshape(2, 12)))


def test_pytorch_initialisation_equals_that_of_plain_layers() -> None:
    torch.manual_seed(0)
    network = MLP(3, 2, 4, 1)
    torch.manual_seed(0)
    plain = [nn.Linear(3, 4), nn.Linear(4, 2)]
    again = MLP(3, 2, 4, 1)
    again.reset_parameters(torch.Generator().manual_seed(0))
    for layer, other, drawn in zip(linears(network), plain, linears(again), strict=True):
        assert torch.equal(layer.weight, other.weight) and torch.equal(layer.bias, other.bias)
        torch.testing.assert_close(drawn.weight, other.weight)
        torch.testing.assert_close(drawn.bias, other.bias)


def test_xavier_weights_fill_their_interval_and_biases_are_zero() -> None:
    network = MLP(30, 20, 100, 1, initialisation="xavier_uniform", gain=2.0)
    for layer in linears(network):
        bound = 2 * math.sqrt(6 / (layer.in_features + layer.out_features))
        assert 0.95 * bound < layer.weight.abs().max().item() <= bound
        assert not layer.bias.any()


def test_orthogonal_weights_are_an_isometry_times_the_gain() -> None:
    network = MLP(10, 10, 10, 2, initialisation="orthogonal", gain=0.8)
    for layer in linears(network):
        torch.testing.assert_close(layer.weight @ layer.weight.T, 0.64 * torch.eye(10), atol=1e-6, rtol=0)
        assert not layer.bias.any()


@pytest.mark.parametrize("initialisation", ["pytorch", "xavier_uniform", "orthogonal"])
def test_reset_depends_on_the_generator_alone(initialisation: str) -> None:
    network = MLP(3, 2, 4, 1, initialisation=initialisation)
    values = []
    for seed in (0, 0, 1):
        torch.rand(1)
        network.reset_parameters(torch.Generator().manual_seed(seed))
        values.append(nn.utils.parameters_to_vector(network.parameters()))
    assert torch.equal(values[0], values[1])
    assert not torch.equal(values[0], values[2])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"inputs": 0}, "inputs: got 0"),
        ({"outputs": 1.5}, "outputs: got 1.5"),
        ({"width": -1}, "width: got -1"),
        ({"depth": -1}, "depth: got -1"),
        ({"activation": "leaky"}, "activation: got 'leaky'.*Did you mean 'leaky_relu'"),
        ({"initialisation": "xavier"}, "initialisation: got 'xavier'.*Did you mean 'xavier_uniform'"),
        ({"negative_slope": -0.1}, "negative_slope: got -0.1"),
        ({"initialisation": "orthogonal", "gain": 0.0}, "gain: got 0.0"),
        ({"gain": 0.8}, "gain: got 0.8; allowed: 1 for the initialisation 'pytorch'"),
    ],
)
def test_bad_arguments_are_named(change: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidValue, match=message):
        MLP(**{"inputs": 2, "outputs": 1, "width": 4, "depth": 1, **change})
