"""Spectral normalisation against torch's own, against exact singular values, and under function transforms."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import Tensor, nn
from torch.func import functional_call, grad, vmap

from detente.errors import InvalidValue
from detente.networks.dcgan import DcganDiscriminator
from detente.networks.mlp import MLP
from detente.networks.spectral_norm import spectral_norm

LAYERS = [
    nn.Linear(5, 3),
    nn.Conv1d(2, 4, 3),
    nn.Conv2d(2, 5, 3),
    nn.ConvTranspose2d(2, 5, 3),
]
every_layer = pytest.mark.parametrize("layer", LAYERS, ids=lambda layer: type(layer).__name__)


def fresh(layer: nn.Module) -> nn.Module:
    """Return a double-precision copy with weights from another seed."""
    copied = copy.deepcopy(layer).double()
    generator = torch.Generator().manual_seed(7)
    with torch.no_grad():
        for parameter in copied.parameters():
            parameter.normal_(generator=generator)
    return copied


def vectors(layer: nn.Module) -> tuple[Tensor, Tensor]:
    held = dict(layer.named_buffers())
    return held["parametrizations.weight.0.left"], held["parametrizations.weight.0.right"]


def weight(layer: nn.Module) -> Tensor:
    value = layer.weight
    assert isinstance(value, Tensor)
    return value


@every_layer
@pytest.mark.parametrize("iterations", [1, 3])
def test_equal_to_torch_from_the_same_vectors(layer: nn.Module, iterations: int) -> None:
    normalized = spectral_norm(fresh(layer), iterations)
    reference = torch.nn.utils.parametrizations.spectral_norm(fresh(layer), n_power_iterations=iterations)
    buffers = dict(reference.named_buffers())
    start = torch.ones_like(buffers["parametrizations.weight.0._v"])
    for buffer in (buffers["parametrizations.weight.0._v"], vectors(normalized)[1]):
        buffer.copy_(start / start.norm())
    for training in (True, True, False):
        normalized.train(training)
        reference.train(training)
        torch.testing.assert_close(weight(normalized), weight(reference))
    torch.testing.assert_close(vectors(normalized)[0], buffers["parametrizations.weight.0._u"])


@every_layer
def test_largest_singular_value_becomes_one(layer: nn.Module) -> None:
    normalized = spectral_norm(fresh(layer), iterations=200)
    axis = 1 if isinstance(layer, nn.ConvTranspose2d) else 0
    matrix = weight(normalized).movedim(axis, 0).flatten(1)
    assert torch.linalg.matrix_norm(matrix, 2).item() == pytest.approx(1.0, abs=1e-6)


def test_initial_vectors_do_not_use_the_global_generator_and_can_be_chosen() -> None:
    before = torch.get_rng_state()
    first, again = (vectors(spectral_norm(fresh(LAYERS[2])))[1] for _ in range(2))
    other = vectors(spectral_norm(fresh(LAYERS[2]), generator=torch.Generator().manual_seed(9)))[1]
    assert torch.equal(torch.get_rng_state(), before)
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_singular_vectors_are_updated_in_training_mode_only() -> None:
    layer = spectral_norm(fresh(LAYERS[2]))
    before = [buffer.clone() for buffer in vectors(layer)]
    original = vectors(layer)
    layer.eval()
    layer(torch.ones(1, 2, 4, 4, dtype=torch.float64))
    assert all(torch.equal(a, b) for a, b in zip(before, vectors(layer), strict=True))
    layer.train()
    layer(torch.ones(1, 2, 4, 4, dtype=torch.float64))
    assert not torch.equal(before[1], vectors(layer)[1])
    assert all(torch.equal(a, b) for a, b in zip(before, original, strict=True))  # reassigned, not written into


def split(network: nn.Module) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    parameters = {name: p.detach().clone() for name, p in network.named_parameters()}
    return parameters, {name: b.detach().clone() for name, b in network.named_buffers()}


def test_pure_under_grad_vmap_and_compile() -> None:
    network = spectral_norm(MLP(3, 1, 6, 2, activation="tanh"))
    parameters, buffers = split(network)
    x = torch.linspace(-1, 1, 12).reshape(4, 3)

    def loss(parameters: dict[str, Tensor], buffers: dict[str, Tensor]) -> tuple[Tensor, dict[str, Tensor]]:
        merged = {**parameters, **buffers}
        output = functional_call(network, merged, (x,))
        return output.square().mean(), {name: merged[name] for name in buffers}

    slope = grad(loss, has_aux=True)
    gradient, new = slope(parameters, buffers)
    name = "layers.2.parametrizations.weight.0.right"
    assert not torch.equal(new[name], buffers[name])
    assert torch.equal(dict(network.named_buffers())[name], buffers[name])

    taped = {name: p.clone().requires_grad_() for name, p in parameters.items()}
    expected = torch.autograd.grad(loss(taped, buffers)[0], list(taped.values()))
    torch.testing.assert_close(list(gradient.values()), list(expected))

    other = {name: 2 * p for name, p in parameters.items()}
    stacked = [{n: torch.stack([a[n], b[n]]) for n in a} for a, b in ((parameters, other), (buffers, buffers))]
    together, new_together = vmap(slope)(*stacked)
    for position, alone in enumerate((parameters, other)):
        expected_gradient, expected_buffers = slope(alone, buffers)
        torch.testing.assert_close({n: g[position] for n, g in together.items()}, expected_gradient)
        torch.testing.assert_close({n: b[position] for n, b in new_together.items()}, expected_buffers)

    compiled = torch.compile(slope, fullgraph=True, backend="aot_eager")
    torch.testing.assert_close(compiled(parameters, buffers), (gradient, new))


def test_scaling_a_weight_changes_nothing_so_its_gradient_is_orthogonal() -> None:
    layer = spectral_norm(nn.Linear(4, 3).double(), iterations=300)
    x = torch.linspace(-1, 1, 8, dtype=torch.float64).reshape(2, 4)
    parameters, buffers = split(layer)
    gradient = grad(lambda p: functional_call(layer, {**p, **buffers}, (x,)).square().sum())(parameters)
    name = "parametrizations.weight.original"
    assert gradient[name].abs().max() > 1e-3
    assert (gradient[name] * parameters[name]).sum().abs() < 1e-9


def test_every_layer_of_a_network_is_normalised_once() -> None:
    network = spectral_norm(DcganDiscriminator(width=2))
    assert sum("left" in name for name, _ in network.named_buffers()) == 4
    assert network(torch.zeros(2, 1, 28, 28)).shape == (2,)
    with pytest.raises(InvalidValue, match="layers with a plain weight"):
        spectral_norm(network)


def test_bad_arguments_are_named() -> None:
    with pytest.raises(InvalidValue, match="module: got 'ReLU'"):
        spectral_norm(nn.ReLU())
    with pytest.raises(InvalidValue, match="iterations: got 0"):
        spectral_norm(nn.Linear(2, 2), iterations=0)
