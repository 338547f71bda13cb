"""Fully connected networks of the conditional GAN, for images with labels."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn.functional import relu

from detente.networks.base import draw_weights, one_hot, require_counts

IMAGE_PIECES, LABEL_PIECES, JOINT_PIECES = 5, 5, 4


class ConditionalGenerator(nn.Module):
    """Maps a latent vector and a label to an image in [-1, 1]: one layer for each, then a joint layer.

    image = tanh(W f(W₃ [f(W₁ z), f(W₂ onehot(y))])),  f the ReLU, biases not shown.

    With its defaults this is the paper's network for MNIST without dropout, and with tanh for images in [-1, 1] instead
    of the paper's sigmoid. A label outside 0 … classes - 1 counts as no label. Initial weights are PyTorch's.

    Args:
        latent: size of a latent vector, at least 1.
        classes: number of labels, at least 1.
        channels: channels of the image, at least 1.
        size: side of the image in pixels, at least 1.
        latent_width: units of the latent vector's layer, at least 1.
        label_width: units of the label's layer, at least 1.
        width: units of the joint layer, at least 1.

    Raises:
        InvalidValue: an argument is out of range.

    Source: Mirza and Osindero 2014 (arXiv:1411.1784), section 4.1.
    """

    def __init__(
        self,
        latent: int = 100,
        classes: int = 10,
        channels: int = 1,
        size: int = 28,
        latent_width: int = 200,
        label_width: int = 1000,
        width: int = 1200,
    ) -> None:
        super().__init__()
        require_counts(latent=latent, classes=classes, channels=channels, size=size)
        require_counts(latent_width=latent_width, label_width=label_width, width=width)
        self.classes, self.shape = classes, (channels, size, size)
        self.from_latent, self.from_label = nn.Linear(latent, latent_width), nn.Linear(classes, label_width)
        self.joint = nn.Linear(latent_width + label_width, width)
        self.output = nn.Linear(width, math.prod(self.shape))

    def reset_parameters(self, generator: torch.Generator | None = None) -> None:
        """Initialise all parameters again, in place, from `generator` (default: torch's global generator)."""
        draw_weights(self, "pytorch", generator)

    def forward(self, latents: Tensor, labels: Tensor) -> Tensor:
        """Return images (batch, channels, size, size) in [-1, 1] from latents (batch, latent) and labels (batch,)."""
        condition = self.from_label(one_hot(labels, self.classes, latents.dtype))
        features = torch.cat([relu(self.from_latent(latents)), relu(condition)], 1)
        return torch.tanh(self.output(relu(self.joint(features)))).unflatten(1, self.shape)


class ConditionalDiscriminator(nn.Module):
    """Maps an image and a label to one logit: one maxout layer for each, then a joint maxout layer.

    score = w · m₄([m₅(x), m₅(onehot(y))]),  m_k(h)_i = max_{j ≤ k} (W_j h + b_j)_i.

    With its defaults this is the paper's network for MNIST without dropout, and without the sigmoid, which is part of
    the objective. A label outside 0 … classes - 1 counts as no label. Initial weights are PyTorch's.

    Args:
        classes: number of labels, at least 1.
        channels: channels of the image, at least 1.
        size: side of the image in pixels, at least 1.
        image_width: units of the image's layer, at least 1; 5 pieces each.
        label_width: units of the label's layer, at least 1; 5 pieces each.
        width: units of the joint layer, at least 1; 4 pieces each.

    Raises:
        InvalidValue: an argument is out of range.

    Source: Mirza and Osindero 2014 (arXiv:1411.1784), section 4.1; Goodfellow et al. 2013 (maxout).
    """

    def __init__(
        self,
        classes: int = 10,
        channels: int = 1,
        size: int = 28,
        image_width: int = 240,
        label_width: int = 50,
        width: int = 240,
    ) -> None:
        super().__init__()
        require_counts(classes=classes, channels=channels, size=size)
        require_counts(image_width=image_width, label_width=label_width, width=width)
        self.classes = classes
        self.from_image = _Maxout(channels * size**2, image_width, IMAGE_PIECES)
        self.from_label = _Maxout(classes, label_width, LABEL_PIECES)
        self.joint = _Maxout(image_width + label_width, width, JOINT_PIECES)
        self.output = nn.Linear(width, 1)

    def reset_parameters(self, generator: torch.Generator | None = None) -> None:
        """Initialise all parameters again, in place, from `generator` (default: torch's global generator)."""
        draw_weights(self, "pytorch", generator)

    def forward(self, images: Tensor, labels: Tensor) -> Tensor:
        """Return logits (batch,) for images (batch, channels, size, size) and labels (batch,)."""
        condition = self.from_label(one_hot(labels, self.classes, images.dtype))
        return self.output(self.joint(torch.cat([self.from_image(images.flatten(1)), condition], 1))).squeeze(1)


class _Maxout(nn.Module):
    """The maximum of several linear maps, for each unit."""

    def __init__(self, inputs: int, units: int, pieces: int) -> None:
        super().__init__()
        self.shape = (units, pieces)
        self.linear = nn.Linear(inputs, units * pieces)

    def forward(self, h: Tensor) -> Tensor:
        """Return (batch, units) from (batch, inputs)."""
        return self.linear(h).unflatten(1, self.shape).amax(2)
