"""Transposed convolutions that draw a checkerboard are replaced by ones of the same sizes that do not."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from detente.errors import InvalidValue
from detente.modules.resize_convolution import ResizeConvolution, uneven_layers, with_resize_convolutions

LAYERS = [
    nn.ConvTranspose2d(3, 4, 3, 2, 1, 1),
    nn.ConvTranspose2d(3, 4, 5, 2, 2, bias=False),
    nn.ConvTranspose2d(3, 3, (3, 4), (2, 3), groups=3),
    nn.ConvTranspose1d(3, 4, 7, 3, 2, dilation=2),
]


@pytest.mark.parametrize("layer", LAYERS)
def test_sizes_are_those_of_the_transposed_convolution(layer: nn.Module) -> None:
    x = torch.randn(2, 3, *[7] * (len(layer.kernel_size)))  # pyright: ignore
    assert ResizeConvolution(layer)(x).shape == layer(x).shape  # pyright: ignore[reportArgumentType]


@torch.no_grad()
def test_equal_weights_draw_a_checkerboard_before_and_none_after() -> None:
    network = nn.Sequential(nn.Identity(), nn.Sequential(nn.ConvTranspose2d(1, 1, 3, 2, 1, 1, bias=False)))
    assert uneven_layers(network) == ["1.0"]
    flat = torch.ones(1, 1, 8, 8)
    nn.init.ones_(network[1][0].weight)  # pyright: ignore
    assert network(flat)[0, 0, 2:-2, 2:-2].unique().numel() > 1
    changed = with_resize_convolutions(network)
    nn.init.ones_(changed[1][0].convolution.weight)  # pyright: ignore
    assert changed(flat)[0, 0, 2:-2, 2:-2].unique().numel() == 1
    assert not uneven_layers(changed)
    with pytest.raises(InvalidValue, match="resize_convolution"):
        with_resize_convolutions(nn.Sequential(nn.ConvTranspose2d(1, 1, 4, 2, 1)))
