"""Activations, dropout and last layers are replaced where they are at fault, and nowhere else."""

import pytest
import torch
from torch import nn

from detente.errors import InvalidValue
from detente.modules.replaced_activations import (
    has_idle_activations,
    largest_dropout,
    last_activation,
    last_layer,
    with_less_dropout,
    with_working_activations,
    without_last_activation,
)


def deep(activation: nn.Module, count: int, *last: nn.Module) -> nn.Sequential:
    return nn.Sequential(
        *[part for _ in range(count) for part in (nn.Linear(4, 4), activation)], nn.Linear(4, 4), *last
    )


def test_several_hidden_sigmoids_are_replaced() -> None:
    network = with_working_activations(deep(nn.Sigmoid(), 4, nn.Sigmoid()))
    kinds = [type(part) for part in network.children() if not isinstance(part, nn.Linear)]
    assert kinds == [nn.LeakyReLU] * 4 + [nn.Sigmoid]  # the output keeps its own, although it was one object for all
    assert not has_idle_activations(network)


def test_working_activations_are_not_replaced() -> None:
    for network in (deep(nn.ReLU(), 4), deep(nn.Sigmoid(), 2), deep(nn.LeakyReLU(0.2), 4), deep(nn.Tanh(), 6)):
        assert not has_idle_activations(network)
        with pytest.raises(InvalidValue):
            with_working_activations(network)


@torch.no_grad()
def test_a_linear_network_gets_nonlinear_activations() -> None:
    network, x = deep(nn.LeakyReLU(1.0), 2), torch.eye(4)
    assert float((network(x) + network(-x) - 2 * network(0 * x)).abs().max()) < 1e-6 and has_idle_activations(network)
    network = with_working_activations(network)
    assert float((network(x) + network(-x) - 2 * network(0 * x)).abs().max()) > 1e-3


@pytest.mark.parametrize("last", [nn.Softmax(1), nn.LayerNorm(4), nn.ReLU()])
def test_the_last_layer_is_left_out(last: nn.Module) -> None:
    network, x = deep(nn.ReLU(), 1, last, nn.Flatten()), torch.randn(5, 4)
    inner = network[:3](x)
    assert not torch.equal(network(x), inner)
    assert torch.equal(without_last_activation(network)(x), inner)
    with pytest.raises(InvalidValue):
        without_last_activation(network)  # it now ends in a linear layer


def test_dropout_is_reduced() -> None:
    network = nn.Sequential(nn.Dropout(0.9), nn.Dropout(0.5), nn.Dropout2d(0.8))
    assert largest_dropout(network) == 0.9
    assert [layer.p for layer in with_less_dropout(network)] == [0.25, 0.5, 0.25]  # pyright: ignore
    assert last_layer(nn.Linear(2, 2)) is None


@torch.no_grad()
def test_a_deep_network_preserves_the_scale_of_its_input() -> None:
    torch.manual_seed(0)
    network = nn.Sequential(*[part for _ in range(10) for part in (nn.Linear(64, 64), nn.Sigmoid())], nn.Linear(64, 64))
    x = torch.randn(256, 64)
    before = float(network[:-1](x).std(0).mean())
    after = float(with_working_activations(network)[:-1](x).std(0).mean())  # pyright: ignore[reportIndexIssue]
    assert before < 1e-3 and 0.2 < after < 3


def test_a_sequence_without_activations_gets_them_and_others_do_not() -> None:
    bare = nn.Sequential(nn.Conv1d(1, 4, 3), nn.Conv1d(4, 4, 3), nn.Flatten(), nn.Linear(16, 8), nn.Tanh())
    x = torch.randn(5, 1, 8)
    assert has_idle_activations(bare)
    network = with_working_activations(bare)
    assert [isinstance(layer, nn.Sequential) for layer in network] == [True, True, False, False, False]  # type: ignore
    hidden = network[:-1]  # pyright: ignore[reportIndexIssue]
    with torch.no_grad():
        assert float((hidden(x) + hidden(-x) - 2 * hidden(0 * x)).abs().max()) > 1e-3
    assert not has_idle_activations(network) and not has_idle_activations(nn.Linear(3, 1))
    assert not has_idle_activations(nn.Sequential(nn.Linear(3, 4), nn.ELU(), nn.Linear(4, 4), nn.Linear(4, 1)))


def test_a_parametrization_is_no_layer() -> None:
    normed = nn.utils.parametrizations.spectral_norm
    network = nn.Sequential(normed(nn.Linear(2, 8)), nn.LeakyReLU(0.2), normed(nn.Linear(8, 3)))
    assert last_layer(network) == ("2", network[2])
    assert last_activation(network) is None, "the normalisation of the last weights is no activation"
