"""Fully connected networks for images."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from detente.errors import require, unknown
from detente.networks.base import draw_weights, require_counts

INITIALISATIONS = ("xavier_uniform", "pytorch")


class ImageMlpGenerator(nn.Module):
    """Fully connected layers from a latent vector to an image in [-1, 1], with leaky ReLU between and tanh at the end.

    image = tanh(W f(… f(W₁ z + b₁) …) + b).

    With its defaults this is the network of the accept-reject papers for MNIST (Keras uses Xavier uniform initial
    weights); SGAN's network has widths 512, 512, 512, slope 0.01 and PyTorch's initial weights.

    Args:
        latent: size of a latent vector, at least 1.
        channels: channels of the image, at least 1.
        size: side of the image in pixels, at least 1.
        widths: units of each hidden layer, at least 1 each.
        slope: slope of the leaky ReLU below zero, at least 0.
        initialisation: "xavier_uniform" with zero biases, or "pytorch".

    Raises:
        InvalidValue: an argument is out of range.

    Source: Keswani et al. 2022, section 6, sizes from the code of Mangoubi, Sachdeva and Vishnoi 2020; Chavdarova and
        Fleuret 2018 (SGAN), supplement 2.1.
    """

    def __init__(
        self,
        latent: int = 100,
        channels: int = 1,
        size: int = 28,
        widths: Sequence[int] = (256, 512, 1024),
        slope: float = 0.2,
        initialisation: str = "xavier_uniform",
    ) -> None:
        super().__init__()
        require_counts(latent=latent)
        _check(channels, size, widths, slope, initialisation)
        shape, self.initialisation = (channels, size, size), initialisation
        sizes = [latent, *widths]
        hidden = [[nn.Linear(a, b), nn.LeakyReLU(slope)] for a, b in zip(sizes[:-1], sizes[1:], strict=True)]
        hidden_layers = [layer for pair in hidden for layer in pair]
        self.layers = nn.Sequential(
            *hidden_layers, nn.Linear(sizes[-1], math.prod(shape)), nn.Tanh(), nn.Unflatten(1, shape)
        )
        self.reset_parameters()

    def reset_parameters(self, generator: torch.Generator | None = None) -> None:
        """Initialise all parameters again, in place, from `generator` (default: torch's global generator)."""
        draw_weights(self, self.initialisation, generator)

    def forward(self, latents: Tensor) -> Tensor:
        """Return images (batch, channels, size, size) in [-1, 1] from latent vectors (batch, latent)."""
        return self.layers(latents)


class ImageMlpDiscriminator(nn.Module):
    """Fully connected layers from an image to one logit, with leaky ReLU and dropout between.

    score = w · f(… f(W₁ x + b₁) …) + b.

    With its defaults this is the network of the accept-reject papers for MNIST without the sigmoid, which is part of
    the objective; SGAN's network has widths 512, 512, 512, slope 0.01, no dropout and PyTorch's initial weights.

    Args:
        channels: channels of the image, at least 1.
        size: side of the image in pixels, at least 1.
        widths: units of each hidden layer, at least 1 each.
        slope: slope of the leaky ReLU below zero, at least 0.
        dropout: dropout probability of each hidden layer except the last, at least 0 and below 1. If it is above 0, the
            losses use random numbers, and the game is not compiled.
        initialisation: "xavier_uniform" with zero biases, or "pytorch".

    Raises:
        InvalidValue: an argument is out of range.

    Source: Keswani et al. 2022, section 6, sizes from the code of Mangoubi, Sachdeva and Vishnoi 2020; Chavdarova and
        Fleuret 2018 (SGAN), supplement 2.1.
    """

    def __init__(
        self,
        channels: int = 1,
        size: int = 28,
        widths: Sequence[int] = (1024, 512, 256),
        slope: float = 0.2,
        dropout: float = 0.3,
        initialisation: str = "xavier_uniform",
    ) -> None:
        super().__init__()
        _check(channels, size, widths, slope, initialisation)
        require(0 <= dropout < 1, "dropout", dropout, "a number of at least 0 and below 1")
        self.initialisation = initialisation
        layers: list[nn.Module] = [nn.Flatten()]
        before = channels * size**2
        for position, after in enumerate(widths):
            layers += [nn.Linear(before, after), nn.LeakyReLU(slope)]
            layers += [nn.Dropout(dropout)] if dropout and position < len(widths) - 1 else []
            before = after
        self.layers = nn.Sequential(*layers, nn.Linear(before, 1))
        self.reset_parameters()

    def reset_parameters(self, generator: torch.Generator | None = None) -> None:
        """Initialise all parameters again, in place, from `generator` (default: torch's global generator)."""
        draw_weights(self, self.initialisation, generator)

    def forward(self, images: Tensor) -> Tensor:
        """Return logits (batch,) for images (batch, channels, size, size)."""
        return self.layers(images).squeeze(1)


def _check(channels: int, size: int, widths: Sequence[int], slope: float, initialisation: str) -> None:
    """Raise `InvalidValue` for an argument out of range."""
    require_counts(channels=channels, size=size)
    are_counts = all(isinstance(width, int) and width >= 1 for width in widths)
    require(are_counts, "widths", widths, "whole numbers of at least 1")
    require(math.isfinite(slope) and slope >= 0, "slope", slope, "a number of at least 0")
    if initialisation not in INITIALISATIONS:
        raise unknown("initialisation", initialisation, INITIALISATIONS)
