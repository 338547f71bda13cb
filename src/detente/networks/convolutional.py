"""Convolutions of 5×5 from a fully connected start, with and without BatchNorm: the DCGANs of The Numerics of GANs."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from detente.errors import require, unknown
from detente.networks.base import draw_weights, halved, require_counts, same_convolution, same_transposed

ACTIVATIONS = ("leaky_relu", "relu")
KERNEL, SLOPE = 5, 0.2


class ConvolutionalGenerator(nn.Module):
    """A fully connected layer, then transposed convolutions, each doubling the side, to an image in [-1, 1].

    image = tanh(ConvT(… f(ConvT(f(W z))) …)), ConvT 5×5 of stride 2.

    The names of the reference code, for images of 32 pixels: `dcgan3_nobn` has 3 layers and "relu", `dcgan4_nobn` 4
    layers, `dcgan4` BatchNorm too, `…_cf` and `conv3`, `conv4` a constant width, `conv4` also 512 hidden units. Padding
    is TensorFlow's "same", pixel for pixel. Weights start Xavier uniform, biases at zero. BatchNorm is PyTorch's, by
    channel (the reference code has no scale in it and another decay); a layer before it has no bias.

    Args:
        latent: numbers in one latent vector, at least 1.
        channels: of the image, at least 1.
        size: of the image in pixels, at least 2^layers.
        width: channels of the last hidden layer, at least 1; twice as many in each layer before.
        layers: number of transposed convolutions, at least 1.
        constant: all hidden layers have `width` channels.
        hidden: units of one more fully connected layer at the start, or 0 for none.
        batch_norm: whether BatchNorm follows each layer but the hidden fully connected one and the last.
        activation: "leaky_relu" (slope 0.2) or "relu".

    Raises:
        InvalidValue: an argument is out of range.

    Source: Mescheder, Nowozin and Geiger 2017, section 5.2 and figures 4–14; sizes from its reference code.
    """

    def __init__(
        self,
        latent: int = 256,
        channels: int = 3,
        size: int = 32,
        width: int = 64,
        layers: int = 4,
        constant: bool = False,
        hidden: int = 0,
        batch_norm: bool = False,
        activation: str = "leaky_relu",
    ) -> None:
        super().__init__()
        require_counts(latent=latent)
        _check(channels, size, width, layers, hidden)
        if activation not in ACTIVATIONS:
            raise unknown("activation", activation, ACTIVATIONS)

        def between(count: int) -> list[nn.Module]:
            normalised: list[nn.Module] = [nn.BatchNorm2d(count)] if batch_norm else []
            return [*normalised, nn.ReLU() if activation == "relu" else nn.LeakyReLU(SLOPE)]

        sides, widths = halved(size, layers), _widths(width, layers, constant)
        start = (widths[-1], sides[-1], sides[-1])
        stack: list[nn.Module] = [nn.Linear(latent, hidden), nn.LeakyReLU(SLOPE)] if hidden else []
        stack += [nn.Linear(hidden or latent, math.prod(start), bias=not batch_norm), nn.Unflatten(1, start)]
        for before, after, side in zip(widths[::-1], widths[-2::-1], sides[-2::-1], strict=False):
            stack += [*between(before), *same_transposed(before, after, KERNEL, side, bias=not batch_norm)]
        stack += [*between(widths[0]), *same_transposed(widths[0], channels, KERNEL, size), nn.Tanh()]
        self.layers = nn.Sequential(*stack)
        self.reset_parameters()

    def reset_parameters(self, generator: torch.Generator | None = None) -> None:
        """Draw all parameters anew, in place, from `generator` (default: torch's global one)."""
        draw_weights(self, "xavier_uniform", generator)

    def forward(self, latents: Tensor) -> Tensor:
        """Return images (batch, channels, size, size) in [-1, 1] from latent vectors (batch, latent)."""
        return self.layers(latents)


class ConvolutionalDiscriminator(nn.Module):
    """Convolutions, each halving the side, then fully connected to one logit; leaky ReLU of slope 0.2 within.

    score = w · f(Conv(… f(Conv(x)) …)), Conv 5×5 of stride 2.

    The names of the reference code are those of the generator; `conv3` and `conv4` (figure 8) have 512 hidden units.
    Padding, first weights and BatchNorm are as in the generator.

    Args:
        channels: of the image, at least 1.
        size: of the image in pixels, at least 2^layers.
        width: channels after the first layer, at least 1; twice as many after each layer that follows.
        layers: number of convolutions, at least 1.
        constant: all layers have `width` channels.
        hidden: units of one more fully connected layer before the last, or 0 for none.
        batch_norm: whether BatchNorm follows each convolution but the first.

    Raises:
        InvalidValue: an argument is out of range.

    Source: Mescheder, Nowozin and Geiger 2017, section 5.2 and figures 4–14; sizes from its reference code.
    """

    def __init__(
        self,
        channels: int = 3,
        size: int = 32,
        width: int = 64,
        layers: int = 4,
        constant: bool = False,
        hidden: int = 0,
        batch_norm: bool = False,
    ) -> None:
        super().__init__()
        _check(channels, size, width, layers, hidden)
        stack: list[nn.Module] = []
        before, sides = channels, halved(size, layers)
        for after, side in zip(_widths(width, layers, constant), sides[:-1], strict=True):
            normalised = batch_norm and bool(stack)
            stack += same_convolution(before, after, KERNEL, side, bias=not normalised)
            stack += [nn.BatchNorm2d(after), nn.LeakyReLU(SLOPE)] if normalised else [nn.LeakyReLU(SLOPE)]
            before = after
        flat = before * sides[-1] ** 2
        stack.append(nn.Flatten())
        stack += [nn.Linear(flat, hidden), nn.LeakyReLU(SLOPE)] if hidden else []
        self.layers = nn.Sequential(*stack, nn.Linear(hidden or flat, 1))
        self.reset_parameters()

    def reset_parameters(self, generator: torch.Generator | None = None) -> None:
        """Draw all parameters anew, in place, from `generator` (default: torch's global one)."""
        draw_weights(self, "xavier_uniform", generator)

    def forward(self, images: Tensor) -> Tensor:
        """Return logits (batch,) of images (batch, channels, size, size)."""
        return self.layers(images).squeeze(1)


def _widths(width: int, layers: int, constant: bool) -> list[int]:
    """Return the channels of the hidden layers, from the image on."""
    return [width * (1 if constant else 2**layer) for layer in range(layers)]


def _check(channels: int, size: int, width: int, layers: int, hidden: int) -> None:
    """Raise `InvalidValue` for an argument out of range."""
    require_counts(channels=channels, width=width, layers=layers)
    allowed = f"a whole number of at least {2**layers}, which {layers} halvings leave a pixel of"
    require(isinstance(size, int) and size >= 2**layers, "size", size, allowed)
    require(isinstance(hidden, int) and hidden >= 0, "hidden", hidden, "a whole number of at least 0; 0 is none")
