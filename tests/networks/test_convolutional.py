"""The DCGANs of The Numerics of GANs: sizes by hand, under the names of the reference code, and the forward pass."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn
from torch.nn import functional

from detente.errors import InvalidValue
from detente.networks.base import same_convolution
from detente.networks.convolutional import ConvolutionalDiscriminator, ConvolutionalGenerator


def count(network: nn.Module) -> int:
    return sum(p.numel() for p in network.parameters())


# By hand, for colour images of 32 pixels, 64 channels and latents of 256: weights, then biases of each layer in order.
NETWORKS: dict[str, tuple[dict[str, Any], int, dict[str, Any], int]] = {
    "dcgan3_nobn": (
        {"layers": 3, "activation": "relu"},
        256 * 4096 + 4096 + 256 * 128 * 25 + 128 + 128 * 64 * 25 + 64 + 64 * 3 * 25 + 3,
        {"layers": 3},
        3 * 64 * 25 + 64 + 64 * 128 * 25 + 128 + 128 * 256 * 25 + 256 + 4096 + 1,
    ),
    "dcgan4_nobn": ({}, 4_832_387, {}, 4_308_609),
    "dcgan4": (  # two numbers a channel instead of one
        {"batch_norm": True},
        4_832_387 - 2048 + 2 * 512 + 256 + 128 + 64,
        {"batch_norm": True},
        4_308_609 + 128 + 256 + 512,
    ),
    "dcgan4_nobn_cf": (
        {"constant": True},
        256 * 256 + 256 + 3 * (64 * 64 * 25 + 64) + 64 * 3 * 25 + 3,
        {"constant": True},
        3 * 64 * 25 + 64 + 3 * (64 * 64 * 25 + 64) + 256 + 1,
    ),
    "conv3": (
        {"layers": 3, "constant": True},
        256 * 1024 + 1024 + 2 * (64 * 64 * 25 + 64) + 64 * 3 * 25 + 3,
        {"layers": 3, "constant": True, "hidden": 512},
        3 * 64 * 25 + 64 + 2 * (64 * 64 * 25 + 64) + 1024 * 512 + 512 + 512 + 1,
    ),
    "conv4": (
        {"constant": True, "hidden": 512},
        256 * 512 + 512 + 512 * 256 + 256 + 3 * (64 * 64 * 25 + 64) + 64 * 3 * 25 + 3,
        {"constant": True, "hidden": 512},
        3 * 64 * 25 + 64 + 3 * (64 * 64 * 25 + 64) + 256 * 512 + 512 + 512 + 1,
    ),
}


@pytest.mark.parametrize("name", NETWORKS)
def test_counts(name: str) -> None:
    generating, first, discriminating, second = NETWORKS[name]
    assert count(ConvolutionalGenerator(**generating)) == first
    assert count(ConvolutionalDiscriminator(**discriminating)) == second


@pytest.mark.parametrize("size", [16, 28, 32])
@pytest.mark.parametrize("layers", [1, 3, 4])
@pytest.mark.parametrize("batch_norm", [True, False])
def test_shapes_and_range(size: int, layers: int, batch_norm: bool) -> None:
    generator = ConvolutionalGenerator(7, 3, size, 2, layers, hidden=5, batch_norm=batch_norm)
    images = generator(10 * torch.randn(5, 7, generator=torch.Generator().manual_seed(0)))
    assert images.shape == (5, 3, size, size)
    assert images.abs().max() <= 1
    assert ConvolutionalDiscriminator(3, size, 2, layers, batch_norm=batch_norm)(images).shape == (5,)


def test_discriminator_equals_its_formula() -> None:
    network = ConvolutionalDiscriminator(1, 14, 2, 2, hidden=3)
    first, second, hidden, last = [part for part in network.modules() if isinstance(part, nn.Conv2d | nn.Linear)]
    images = torch.randn(4, 1, 14, 14, generator=torch.Generator().manual_seed(0))
    h = functional.leaky_relu(functional.conv2d(functional.pad(images, (1, 2, 1, 2)), first.weight, stride=2), 0.2)
    h = functional.leaky_relu(functional.conv2d(functional.pad(h, (2, 2, 2, 2)), second.weight, stride=2), 0.2)
    h = functional.leaky_relu(h.flatten(1) @ hidden.weight.T, 0.2)
    torch.testing.assert_close(network(images), (h @ last.weight.T).squeeze(1))


@pytest.mark.parametrize("activation", ["relu", "leaky_relu"])
def test_generator_equals_its_formula(activation: str) -> None:
    network = ConvolutionalGenerator(3, 1, 14, 2, 2, activation=activation)
    f = functional.relu if activation == "relu" else lambda h: functional.leaky_relu(h, 0.2)
    start, first, last = [part for part in network.modules() if isinstance(part, nn.ConvTranspose2d | nn.Linear)]
    latents = torch.randn(5, 3, generator=torch.Generator().manual_seed(0))
    h = f((latents @ start.weight.T).reshape(5, 4, 4, 4))
    h = f(functional.conv_transpose2d(h, first.weight, stride=2)[..., 2:9, 2:9])  # 11 pixels, of which 7 are wanted
    h = torch.tanh(functional.conv_transpose2d(h, last.weight, stride=2)[..., 1:15, 1:15])  # 17, of which 14 are
    torch.testing.assert_close(network(latents), h)


def test_batch_norm_is_where_the_papers_have_it() -> None:
    def kinds(network: nn.Module) -> list[str]:
        return [type(part).__name__ for part in network.layers.children()]  # pyright: ignore

    assert kinds(ConvolutionalDiscriminator(1, 8, 2, 2, batch_norm=True)) == [
        *("ZeroPad2d", "Conv2d", "LeakyReLU"),
        *("ZeroPad2d", "Conv2d", "BatchNorm2d", "LeakyReLU"),
        *("Flatten", "Linear"),
    ]
    assert kinds(ConvolutionalGenerator(3, 1, 8, 2, 2, batch_norm=True, activation="relu")) == [
        *("Linear", "Unflatten", "BatchNorm2d", "ReLU"),
        *("ConvTranspose2d", "_Cropped", "BatchNorm2d", "ReLU"),
        *("ConvTranspose2d", "_Cropped", "Tanh"),
    ]


def test_initial_weights_are_xavier() -> None:
    network = ConvolutionalDiscriminator(width=8)
    for layer in network.modules():
        if isinstance(layer, nn.Conv2d):
            bound = (6 / ((layer.in_channels + layer.out_channels) * 25)) ** 0.5
            assert 0.9 * bound < layer.weight.abs().max().item() <= bound
            assert layer.bias is not None and not layer.bias.any()


def test_symmetric_padding_gives_a_different_network() -> None:
    """The mirrored one: what seemed close enough sees images shifted by a pixel."""
    pad, layer = same_convolution(1, 1, 5, 8)
    images = torch.randn(2, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    assert isinstance(layer, nn.Conv2d)
    shifted = functional.conv2d(images, layer.weight, layer.bias, stride=2, padding=2)
    mirrored = functional.conv2d(images.flip(2, 3), layer.weight.flip(2, 3), layer.bias, stride=2, padding=2).flip(2, 3)
    assert not torch.allclose(layer(pad(images)), shifted)
    torch.testing.assert_close(layer(pad(images)), mirrored)


@pytest.mark.parametrize("member", [ConvolutionalGenerator, ConvolutionalDiscriminator])
@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"size": 15}, "size: got 15; allowed: a whole number of at least 16"),
        ({"channels": 0}, "channels: got 0"),
        ({"width": 0}, "width: got 0"),
        ({"layers": 0}, "layers: got 0"),
        ({"hidden": -1}, "hidden: got -1"),
    ],
)
def test_bad_arguments_are_named(member: type, change: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidValue, match=message):
        member(**change)


def test_activations_are_known_by_name() -> None:
    with pytest.raises(InvalidValue, match="activation: got 'leaky'.*Did you mean 'leaky_relu'"):
        ConvolutionalGenerator(activation="leaky")
