"""The residual networks of SNGAN for images of 32 or 48 pixels, with spectral normalisation in the discriminator."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn.functional import avg_pool2d, relu
from torch.nn.utils import parametrize

from detente.errors import require
from detente.networks.base import draw_weights, require_counts
from detente.networks.spectral_norm import spectral_norm

# Factors of the width by image size: at the start and after each block; of each block, with whether it halves the side.
GENERATORS = {32: (1, 1, 1, 1), 48: (8, 4, 2, 1)}
DISCRIMINATORS = {
    32: ((1, True), (1, True), (1, False), (1, False)),
    48: ((1, True), (2, True), (4, True), (8, True), (16, False)),
}


class SnganGenerator(nn.Module):
    """A fully connected layer, then three residual blocks that double the side, to an image in [-1, 1].

    h ← up(Conv₁(h)) + Conv₃(f(BN(Conv₃(up(f(BN(h))))))),  image = tanh(Conv₃(f(BN(h)))),  f the ReLU.

    Initial weights are Xavier uniform, multiplied by √2 in blocks; initial biases are zero. For CIFAR-10 use size 32
    and width 256, for STL-10 size 48 and width 64.

    Args:
        latent: size of a latent vector, at least 1.
        channels: channels of the image, at least 1.
        size: side of the image in pixels: 32 or 48.
        width: channels of the last block, at least 1. At size 32 all blocks have as many; at size 48 the first layer
            has eight times as many.

    Raises:
        InvalidValue: an argument is out of range.

    Source: Miyato et al. 2018, Spectral Normalization for GANs, appendix B.4; initial weights from its reference code.
    """

    def __init__(self, latent: int = 128, channels: int = 3, size: int = 32, width: int = 256) -> None:
        super().__init__()
        require_counts(latent=latent)
        _check(channels, size, width)
        widths = [factor * width for factor in GENERATORS[size]]
        self.start = nn.Linear(latent, widths[0] * (size // 8) ** 2)
        self.cut = nn.Unflatten(1, (widths[0], size // 8, size // 8))
        self.blocks = nn.Sequential(*[_Up(a, b) for a, b in zip(widths[:-1], widths[1:], strict=True)])
        self.normalised, self.output = nn.BatchNorm2d(width), nn.Conv2d(width, channels, 3, padding=1)
        self.reset_parameters()

    def reset_parameters(self, generator: torch.Generator | None = None) -> None:
        """Initialise all parameters again, in place, from `generator` (default: torch's global generator)."""
        draw_weights(self, "xavier_uniform", generator, lambda layer: 1.0 if layer is self.output else _gain(layer))

    def forward(self, latents: Tensor) -> Tensor:
        """Return images (batch, channels, size, size) in [-1, 1] from latent vectors (batch, latent)."""
        h = self.blocks(self.cut(self.start(latents)))
        return torch.tanh(self.output(relu(self.normalised(h))))


class SnganDiscriminator(nn.Module):
    """Residual blocks, then a sum over all positions to one logit; each layer has spectral norm 1.

    h ← down(Conv₁(h) + Conv₃(f(Conv₃(f(h))))),  score = w · Σ f(h),  f the ReLU, omitted before the first layer.

    Initial weights are Xavier uniform, multiplied by √2 in blocks; initial biases are zero. For CIFAR-10 use size 32
    and width 128, for STL-10 size 48 and width 64. As in the reference code, the second convolution of a block changes
    the number of channels.

    Args:
        channels: channels of the image, at least 1.
        size: side of the image in pixels: 32 or 48.
        width: channels of the first block, at least 1. At size 32 all blocks have as many; at size 48 each block has
            twice as many as the previous one.
        iterations: power iterations per call in training mode, at least 1.

    Raises:
        InvalidValue: an argument is out of range.

    Source: Miyato et al. 2018, Spectral Normalization for GANs, appendix B.4; initial weights from its reference code.
    """

    def __init__(self, channels: int = 3, size: int = 32, width: int = 128, iterations: int = 1) -> None:
        super().__init__()
        _check(channels, size, width)
        require_counts(iterations=iterations)
        self.iterations = iterations
        layers, before = [], channels
        for factor, halve in DISCRIMINATORS[size]:
            layers.append(_Down(before, factor * width, halve, first=not layers))
            before = factor * width
        self.blocks, self.output = nn.Sequential(*layers), nn.Linear(before, 1)
        self.reset_parameters()

    def reset_parameters(self, generator: torch.Generator | None = None) -> None:
        """Initialise all parameters again, in place, from `generator` (default: torch's global generator)."""
        for layer in list(self.modules()):
            if parametrize.is_parametrized(layer, "weight"):  # restore the plain weights, as before normalisation
                parametrize.remove_parametrizations(layer, "weight", leave_parametrized=False)
        draw_weights(self, "xavier_uniform", generator, _gain)
        spectral_norm(self, self.iterations)

    def forward(self, images: Tensor) -> Tensor:
        """Return logits (batch,) for images (batch, channels, size, size)."""
        return self.output(relu(self.blocks(images)).sum((2, 3))).squeeze(1)


class _Up(nn.Module):
    """A block of the generator, which doubles the side."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.shortcut = nn.Conv2d(inputs, outputs, 1)
        self.before, self.first = nn.BatchNorm2d(inputs), nn.Conv2d(inputs, outputs, 3, padding=1)
        self.between, self.second = nn.BatchNorm2d(outputs), nn.Conv2d(outputs, outputs, 3, padding=1)

    def forward(self, h: Tensor) -> Tensor:
        """Return (batch, outputs, 2 side, 2 side) from (batch, inputs, side, side)."""
        inner = self.first(_doubled(relu(self.before(h))))
        return _doubled(self.shortcut(h)) + self.second(relu(self.between(inner)))


class _Down(nn.Module):
    """A block of the discriminator, which may halve the side."""

    def __init__(self, inputs: int, outputs: int, halve: bool, first: bool) -> None:
        super().__init__()
        between = outputs if first else inputs
        self.halve, self.starts = halve, first
        self.shortcut = nn.Conv2d(inputs, outputs, 1) if halve or inputs != outputs else None
        self.first = nn.Conv2d(inputs, between, 3, padding=1)
        self.second = nn.Conv2d(between, outputs, 3, padding=1)

    def forward(self, h: Tensor) -> Tensor:
        """Return (batch, outputs, side or side/2, …) from (batch, inputs, side, side)."""
        inner = self.second(relu(self.first(h if self.starts else relu(h))))
        # A 1×1 convolution commutes with the mean over pixels, and is cheaper after it.
        h = avg_pool2d(h, 2) if self.halve else h
        inner = avg_pool2d(inner, 2) if self.halve else inner
        return inner + (h if self.shortcut is None else self.shortcut(h))


def _doubled(images: Tensor) -> Tensor:
    """Return images with each pixel repeated in a 2×2 square."""
    return images.repeat_interleave(2, -1).repeat_interleave(2, -2)


def _gain(layer: nn.Module) -> float:
    """Return the factor of a layer's initial weights."""
    return math.sqrt(2) if isinstance(layer, nn.Conv2d) and layer.kernel_size == (3, 3) else 1.0


def _check(channels: int, size: int, width: int) -> None:
    """Raise `InvalidValue` for an argument out of range."""
    require_counts(channels=channels, width=width)
    require(size in GENERATORS, "size", size, "32 or 48")
