"""The DCGANs of The Numerics of GANs: 5×5 convolutions and a fully connected layer, with or without BatchNorm."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from detente.errors import require, unknown
from detente.networks.base import draw_weights, halved, require_counts, same_convolution, same_transposed

ACTIVATIONS = ("leaky_relu", "relu")
KERNEL, SLOPE = 5, 0.2


class ConvolutionalGenerator(nn.Module):
    """A fully connected layer, then transposed convolutions that double the side, to an image in [-1, 1].

    image = tanh(ConvT(… f(ConvT(f(W z))) …)), ConvT 5×5 of stride 2.

    The reference code has these names for images of 32 pixels: `dcgan3_nobn` has 3 layers and "relu"; `dcgan4_nobn` has
    4 layers; `dcgan4` also has BatchNorm; `…_cf`, `conv3` and `conv4` have a constant width; `conv4` also has 512
    hidden units. Padding equals TensorFlow's "same". Initial weights are Xavier uniform, initial biases are zero.
    BatchNorm is PyTorch's, per channel (the reference code's has no scale and a different decay); a layer before it has
    no bias.

    Args:
        latent: size of a latent vector, at least 1.
        channels: channels of the image, at least 1.
        size: side of the image in pixels, at least 2^layers.
        width: channels of the last hidden layer, at least 1; each earlier layer has twice as many as the next.
        layers: number of transposed convolutions, at least 1.
        constant: whether all hidden layers have `width` channels.
        hidden: units of an additional fully connected layer at the start, or 0 for none.
        batch_norm: whether BatchNorm follows each layer except the additional fully connected one and the last.
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

        def normalise_and_activate(count: int) -> list[nn.Module]:
            normalised: list[nn.Module] = [nn.BatchNorm2d(count)] if batch_norm else []
            return [*normalised, nn.ReLU() if activation == "relu" else nn.LeakyReLU(SLOPE)]

        sides, widths = halved(size, layers), _widths(width, layers, constant)
        start = (widths[-1], sides[-1], sides[-1])
        stack: list[nn.Module] = [nn.Linear(latent, hidden), nn.LeakyReLU(SLOPE)] if hidden else []
        stack += [nn.Linear(hidden or latent, math.prod(start), bias=not batch_norm), nn.Unflatten(1, start)]
        for before, after, side in zip(widths[::-1], widths[-2::-1], sides[-2::-1], strict=False):
            stack += [
                *normalise_and_activate(before),
                *same_transposed(before, after, KERNEL, side, bias=not batch_norm),
            ]
        stack += [*normalise_and_activate(widths[0]), *same_transposed(widths[0], channels, KERNEL, size), nn.Tanh()]
        self.layers = nn.Sequential(*stack)
        self.reset_parameters()

    def reset_parameters(self, generator: torch.Generator | None = None) -> None:
        """Initialise all parameters again, in place, from `generator` (default: torch's global generator)."""
        draw_weights(self, "xavier_uniform", generator)

    def forward(self, latents: Tensor) -> Tensor:
        """Return images (batch, channels, size, size) in [-1, 1] from latent vectors (batch, latent)."""
        return self.layers(latents)


class ConvolutionalDiscriminator(nn.Module):
    """Convolutions that halve the side, then a fully connected layer to one logit; leaky ReLU of slope 0.2 between.

    score = w · f(Conv(… f(Conv(x)) …)), Conv 5×5 of stride 2.

    The reference code uses the same names as for the generator; `conv3` and `conv4` (figure 8) have 512 hidden units.
    Padding, initial weights and BatchNorm are as in the generator.

    Args:
        channels: channels of the image, at least 1.
        size: side of the image in pixels, at least 2^layers.
        width: channels after the first layer, at least 1; each later layer has twice as many as the previous one.
        layers: number of convolutions, at least 1.
        constant: whether all layers have `width` channels.
        hidden: units of an additional fully connected layer before the last, or 0 for none.
        batch_norm: whether BatchNorm follows each convolution except the first.

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
        """Initialise all parameters again, in place, from `generator` (default: torch's global generator)."""
        draw_weights(self, "xavier_uniform", generator)

    def forward(self, images: Tensor) -> Tensor:
        """Return logits (batch,) for images (batch, channels, size, size)."""
        return self.layers(images).squeeze(1)


def _widths(width: int, layers: int, constant: bool) -> list[int]:
    """Return the channels of the hidden layers, starting next to the image."""
    return [width * (1 if constant else 2**layer) for layer in range(layers)]


def _check(channels: int, size: int, width: int, layers: int, hidden: int) -> None:
    """Raise `InvalidValue` for an argument out of range."""
    require_counts(channels=channels, width=width, layers=layers)
    allowed = f"a whole number of at least {2**layers}, which can be halved {layers} times"
    require(isinstance(size, int) and size >= 2**layers, "size", size, allowed)
    require(isinstance(hidden, int) and hidden >= 0, "hidden", hidden, "a whole number of at least 0; 0 for none")
