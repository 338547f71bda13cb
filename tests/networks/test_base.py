"""What networks share: TensorFlow's "same" padding and its transpose, and initial weights."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor, nn

from detente.errors import InvalidValue
from detente.networks.base import draw_weights, halved, require_counts, same_convolution, same_transposed

SIDES = [1, 2, 3, 4, 7, 8, 14, 28]
KERNELS = [2, 3, 4, 5]


def defined(images: Tensor, weight: Tensor) -> Tensor:
    """Return the convolution of stride 2 as TensorFlow defines "same", pixel by pixel, for one channel.

    output[i] = Σ_k input[2 i + k - before] weight[k], before = ⌊max((⌈n/2⌉ - 1) 2 + K - n, 0) / 2⌋, zero outside.
    """
    side, kernel = images.shape[-1], weight.shape[-1]
    out = math.ceil(side / 2)
    before = max((out - 1) * 2 + kernel - side, 0) // 2
    result = images.new_zeros(len(images), out, out)
    for row in range(out):
        for column in range(out):
            for i in range(kernel):
                for j in range(kernel):
                    y, x = 2 * row + i - before, 2 * column + j - before
                    if 0 <= y < side and 0 <= x < side:
                        result[:, row, column] += images[:, 0, y, x] * weight[0, 0, i, j]
    return result


@pytest.mark.parametrize("kernel", KERNELS)
@pytest.mark.parametrize("side", SIDES)
def test_same_convolution_equals_tensorflows_definition(side: int, kernel: int) -> None:
    generator = torch.Generator().manual_seed(side + 100 * kernel)
    layers = nn.Sequential(*same_convolution(1, 1, kernel, side, bias=False)).double()
    images = torch.randn(2, 1, side, side, generator=generator, dtype=torch.float64)
    (weight,) = layers.parameters()
    torch.testing.assert_close(layers(images)[:, 0], defined(images, weight))


@pytest.mark.parametrize("kernel", KERNELS)
@pytest.mark.parametrize("side", SIDES)
def test_same_transposed_is_the_transpose(side: int, kernel: int) -> None:
    """⟨C x, y⟩ = ⟨x, Cᵀ y⟩ with one weight for both, which is how TensorFlow defines its transposed convolution."""
    generator = torch.Generator().manual_seed(side + 100 * kernel)
    forth = nn.Sequential(*same_convolution(3, 2, kernel, side, bias=False)).double()
    back = nn.Sequential(*same_transposed(2, 3, kernel, side, bias=False)).double()
    (weight,), (other,) = forth.parameters(), back.parameters()
    with torch.no_grad():
        other.copy_(weight)
    x = torch.randn(2, 3, side, side, generator=generator, dtype=torch.float64)
    y = torch.randn(2, 2, -(-side // 2), -(-side // 2), generator=generator, dtype=torch.float64)
    assert back(y).shape == x.shape
    torch.testing.assert_close((forth(x) * y).sum(), (x * back(y)).sum())


def test_sides_are_halved_and_rounded_up() -> None:
    assert halved(28, 4) == [28, 14, 7, 4, 2]
    assert halved(32, 3) == [32, 16, 8, 4]


def test_xavier_weights_fill_their_interval_with_the_layers_gain() -> None:
    network = nn.Sequential(nn.Conv2d(8, 16, 5), nn.ConvTranspose2d(16, 8, 5), nn.Conv1d(8, 8, 3), nn.Linear(40, 60))
    draw_weights(network, "xavier_uniform", None, lambda layer: 2.0 if isinstance(layer, nn.Linear) else 1.0)
    fans = [(8 + 16) * 25, (16 + 8) * 25, (8 + 8) * 3, 40 + 60]
    for layer, fan in zip(network, fans, strict=True):
        assert isinstance(layer, nn.Linear | nn.Conv2d | nn.ConvTranspose2d | nn.Conv1d)
        bound = (2 if isinstance(layer, nn.Linear) else 1) * math.sqrt(6 / fan)
        assert 0.95 * bound < layer.weight.abs().max().item() <= bound
        assert layer.bias is not None and not layer.bias.any()


def test_counts_are_refused_by_name() -> None:
    require_counts(width=1)
    with pytest.raises(InvalidValue, match="width: got 0; allowed: a whole number of at least 1"):
        require_counts(size=3, width=0)
