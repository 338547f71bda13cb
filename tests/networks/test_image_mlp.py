"""Fully connected networks for images: sizes of the papers, dropout where they have it, images by rows."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

from detente.errors import InvalidValue
from detente.networks.image_mlp import ImageMlpDiscriminator, ImageMlpGenerator
from detente.networks.mlp import MLP

SGAN: dict[str, Any] = {"widths": (512, 512, 512), "slope": 0.01, "initialisation": "pytorch"}


def count(network: nn.Module) -> int:
    return sum(p.numel() for p in network.parameters())


def test_counts_of_the_accept_reject_papers_are_1486352_and_1460225() -> None:
    assert count(ImageMlpGenerator()) == 101 * 256 + 257 * 512 + 513 * 1024 + 1025 * 784 == 1_486_352
    assert count(ImageMlpDiscriminator()) == 785 * 1024 + 1025 * 512 + 513 * 256 + 257 == 1_460_225


def test_counts_of_sgan() -> None:
    assert count(ImageMlpGenerator(**SGAN)) == 101 * 512 + 2 * 513 * 512 + 513 * 784
    assert count(ImageMlpDiscriminator(**SGAN, dropout=0)) == 785 * 512 + 2 * 513 * 512 + 513


def test_they_are_plain_networks_on_images_laid_out_by_rows() -> None:
    plain = MLP(12, 1, 4, 2, "leaky_relu", 0.2)
    network = ImageMlpDiscriminator(3, 2, (4, 4), dropout=0)
    nn.utils.vector_to_parameters(nn.utils.parameters_to_vector(plain.parameters()), network.parameters())
    images = torch.linspace(-1, 1, 24).reshape(2, 3, 2, 2)
    torch.testing.assert_close(network(images), plain(images.reshape(2, 12))[:, 0])

    plain = MLP(5, 12, 4, 2, "leaky_relu", 0.2)
    generator = ImageMlpGenerator(5, 3, 2, (4, 4))
    nn.utils.vector_to_parameters(nn.utils.parameters_to_vector(plain.parameters()), generator.parameters())
    latents = torch.linspace(-3, 3, 10).reshape(2, 5)
    torch.testing.assert_close(generator(latents), torch.tanh(plain(latents)).reshape(2, 3, 2, 2))


def test_dropout_follows_every_hidden_layer_but_the_last() -> None:
    kinds = [type(layer).__name__ for layer in ImageMlpDiscriminator(size=4, widths=(5, 4, 3)).layers]
    hidden = ["Linear", "LeakyReLU"]
    assert kinds == ["Flatten", *hidden, "Dropout", *hidden, "Dropout", *hidden, "Linear"]
    without = ImageMlpDiscriminator(size=4, widths=(5, 4, 3), dropout=0.0)
    assert not any(isinstance(layer, nn.Dropout) for layer in without.layers)


def test_initial_weights_are_the_requested_ones() -> None:
    keras, torchs = ImageMlpGenerator(widths=(64,)), ImageMlpGenerator(widths=(64,), initialisation="pytorch")
    for network, bound in ((keras, (6 / 164) ** 0.5), (torchs, 0.1)):
        layer = network.layers[0]
        assert isinstance(layer, nn.Linear)
        assert 0.95 * bound < layer.weight.abs().max().item() <= bound
        assert bool(layer.bias.any()) == (network is torchs)


@pytest.mark.parametrize("member", [ImageMlpGenerator, ImageMlpDiscriminator])
@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"size": 0}, "size: got 0"),
        ({"channels": 0}, "channels: got 0"),
        ({"widths": (4, 0)}, r"widths: got \(4, 0\)"),
        ({"slope": float("nan")}, "slope: got nan"),
        ({"initialisation": "xavier"}, "Did you mean 'xavier_uniform'"),
    ],
)
def test_bad_arguments_are_named(member: type, change: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidValue, match=message):
        member(**change)


@pytest.mark.parametrize("dropout", [-0.1, 1.0, float("nan")])
def test_invalid_dropout_is_refused(dropout: float) -> None:
    with pytest.raises(InvalidValue, match="dropout: got"):
        ImageMlpDiscriminator(dropout=dropout)
