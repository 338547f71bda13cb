"""Wrappers that make any image generator or discriminator conditional, with the label as an additional input."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from detente.errors import require
from detente.networks.base import one_hot, require_counts


class _Labelled(nn.Module):
    """A network with labels as an additional input."""

    def __init__(self, network: nn.Module, classes: int = 10) -> None:
        super().__init__()
        require_counts(classes=classes)
        require(isinstance(network, nn.Module), "network", network, "an nn.Module")
        self.classes = classes
        self.network: Any = network

    def reset_parameters(self, generator: torch.Generator | None = None) -> None:
        """Initialise all parameters of `network` again, in place, from `generator` (default: torch's global one)."""
        self.network.reset_parameters(generator)


class LabelledGenerator(_Labelled):
    """A generator that receives the label appended to the latent vector.

    image = G([z, onehot(y)]).

    A label outside 0 … classes - 1 counts as no label.

    Args:
        network: G, from vectors of size `latent` + `classes` to images, for example `DcganGenerator(latent + classes)`.
        classes: number of labels, at least 1.

    Raises:
        InvalidValue: an argument is out of range.

    Source: Mirza and Osindero 2014 (arXiv:1411.1784), equation 2.
    """

    def forward(self, latents: Tensor, labels: Tensor) -> Tensor:
        """Return images, (batch, …), from latents, (batch, latent), and labels, (batch,)."""
        return self.network(torch.cat([latents, one_hot(labels, self.classes, latents.dtype)], 1))


class LabelledDiscriminator(_Labelled):
    """A discriminator that receives the label as additional channels of the image.

    score = D([x, planes(y)]),  plane k filled with ones if y = k, and with zeros otherwise.

    A label outside 0 … classes - 1 counts as no label.

    Args:
        network: D, for images of `channels` + `classes` channels, for example `DcganDiscriminator(channels + classes)`.
        classes: number of labels, at least 1.

    Raises:
        InvalidValue: an argument is out of range.

    Source: Mirza and Osindero 2014 (arXiv:1411.1784), equation 2.
    """

    def forward(self, images: Tensor, labels: Tensor) -> Tensor:
        """Return logits, (batch,), for images, (batch, channels, height, width), and labels, (batch,)."""
        planes = one_hot(labels, self.classes, images.dtype)[:, :, None, None]
        return self.network(torch.cat([images, planes.expand(-1, -1, *images.shape[2:])], 1))
