"""Common parts of networks: checks of sizes, initial weights, one-hot labels, convolutions padded as in TensorFlow."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from detente.errors import require

LAYERS = (nn.Linear, nn.Conv1d, nn.Conv2d, nn.ConvTranspose2d)


def require_counts(**counts: int) -> None:
    """Raise `InvalidValue` unless every count is a whole number of at least 1."""
    for field, count in counts.items():
        require(isinstance(count, int) and count >= 1, field, count, "a whole number of at least 1")


@torch.no_grad()
def draw_weights(
    network: nn.Module,
    initialisation: str,
    generator: torch.Generator | None = None,
    gain: Callable[[nn.Module], float] = lambda layer: 1.0,
) -> None:
    """Initialise the weights and biases of all layers, in place, and reset the statistics of BatchNorm.

    Args:
        network: a network of linear layers, convolutions and BatchNorm.
        initialisation: "pytorch" (weights and biases uniform within ±1/√fan_in), or, with zero biases, "normal"
            (N(0, 0.02²), BatchNorm's scales N(1, 0.02²)), "xavier_uniform" or "orthogonal".
        generator: source of randomness; default: torch's global generator.
        gain: returns the factor of a layer's "xavier_uniform" or "orthogonal" weights.

    Source: Glorot and Bengio 2010, equation 16 (xavier_uniform); Saxe et al. 2014 (orthogonal).
    """
    for layer in network.modules():
        if isinstance(layer, _BatchNorm):
            layer.reset_parameters()
            if initialisation == "normal":
                layer.weight.normal_(1, 0.02, generator=generator)
        elif isinstance(layer, LAYERS):
            # PyTorch computes fan_in from the weight's second axis, also for transposed convolutions.
            bound = 1 / math.sqrt(layer.weight[0].numel())
            if initialisation == "pytorch":
                layer.weight.uniform_(-bound, bound, generator=generator)
            elif initialisation == "normal":
                layer.weight.normal_(0, 0.02, generator=generator)
            elif initialisation == "orthogonal":
                nn.init.orthogonal_(layer.weight, gain=gain(layer), generator=generator)
            else:
                nn.init.xavier_uniform_(layer.weight, gain=gain(layer), generator=generator)
            if layer.bias is not None:
                biased = initialisation == "pytorch"
                _ = layer.bias.uniform_(-bound, bound, generator=generator) if biased else layer.bias.zero_()


def one_hot(labels: Tensor, classes: int, dtype: torch.dtype) -> Tensor:
    """Return (batch, classes): 1 at the label, 0 elsewhere; unlike torch's function, this one can be traced."""
    return (labels.unsqueeze(1) == torch.arange(classes, device=labels.device)).to(dtype)


def halved(side: int, times: int) -> list[int]:
    """Return a side in pixels and the sides after each halving, rounded up: 28, 14, 7, 4."""
    return [-(-side // 2**time) for time in range(times + 1)]


def same_convolution(inputs: int, outputs: int, kernel: int, side: int, bias: bool = True) -> list[nn.Module]:
    """Return a convolution of stride 2 with TensorFlow's "same" padding: `side` pixels become ⌈side/2⌉.

    Zeros pad the image to (⌈side/2⌉ − 1) 2 + kernel pixels, half of them before the image; if their number is odd, the
    additional one comes after it. Symmetric padding would shift the image by a pixel.

    Args:
        inputs: number of input channels.
        outputs: number of output channels.
        kernel: side of the kernel in pixels, at least 2.
        side: side of the input images in pixels.
        bias: whether the layer has a bias.
    """
    before, after = _padding(kernel, side)
    if before == after:
        return [nn.Conv2d(inputs, outputs, kernel, 2, before, bias=bias)]
    return [nn.ZeroPad2d((before, after, before, after)), nn.Conv2d(inputs, outputs, kernel, 2, bias=bias)]


def same_transposed(inputs: int, outputs: int, kernel: int, side: int, bias: bool = True) -> list[nn.Module]:
    """Return the transpose of `same_convolution`, as in TensorFlow: ⌈side/2⌉ pixels become `side`.

    Args:
        inputs: number of input channels.
        outputs: number of output channels.
        kernel: side of the kernel in pixels, at least 2.
        side: side of the output images in pixels.
        bias: whether the layer has a bias.
    """
    before, after = _padding(kernel, side)
    layer = nn.ConvTranspose2d(inputs, outputs, kernel, 2, before, bias=bias)
    return [layer] if before == after else [layer, _Cropped(side)]


def _padding(kernel: int, side: int) -> tuple[int, int]:
    """Return the number of zero pixels before and after the image, per dimension."""
    total = (-(-side // 2) - 1) * 2 + kernel - side
    return total // 2, total - total // 2


class _Cropped(nn.Module):
    """Crops images to the first pixels of each row and column."""

    def __init__(self, side: int) -> None:
        super().__init__()
        self.side = side

    def forward(self, images: Tensor) -> Tensor:
        """Return images (batch, channels, side, side) from larger ones."""
        return images[..., : self.side, : self.side]
