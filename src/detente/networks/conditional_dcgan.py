"""DCGAN for images of a class that is asked for: the label goes in beside the latent vector, and beside the image."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from detente.networks.base import one_hot, require_counts
from detente.networks.dcgan import DcganDiscriminator, DcganGenerator


class ConditionalDcganGenerator(nn.Module):
    """Latent vector and label to an image in [-1, 1]: a DCGAN's generator of both.

    image = G([z, onehot(y)]).

    A label outside 0 … classes - 1 counts as none.

    Args:
        latent: numbers in one latent vector, at least 1.
        classes: number of labels, at least 1.
        channels: of the image, at least 1.
        size: of the image in pixels: 28, 32 or 64.
        width: as in `DcganGenerator`, at least 1.
        batch_norm: whether BatchNorm follows each convolution but the last.
        initialisation: "pytorch" or "normal", as in `DcganGenerator`.

    Raises:
        InvalidValue: an argument is out of range.

    Source: Mirza and Osindero 2014 (arXiv:1411.1784), equation 2; Radford, Metz and Chintala 2016.
    """

    def __init__(
        self,
        latent: int = 100,
        classes: int = 10,
        channels: int = 1,
        size: int = 28,
        width: int = 64,
        batch_norm: bool = True,
        initialisation: str = "pytorch",
    ) -> None:
        super().__init__()
        require_counts(latent=latent, classes=classes)
        self.classes = classes
        self.network = DcganGenerator(latent + classes, channels, size, width, batch_norm, initialisation)

    def reset_parameters(self, generator: torch.Generator | None = None) -> None:
        """Draw all parameters anew, in place, from `generator` (default: torch's global one)."""
        self.network.reset_parameters(generator)

    def forward(self, latents: Tensor, labels: Tensor) -> Tensor:
        """Return images (batch, channels, size, size) in [-1, 1] from latents (batch, latent) and labels (batch,)."""
        return self.network(torch.cat([latents, one_hot(labels, self.classes, latents.dtype)], 1))


class ConditionalDcganDiscriminator(nn.Module):
    """Image and label to one logit: a DCGAN's discriminator of the image and a plane for each label.

    score = D([x, planes(y)]),  plane k filled with ones if y = k, and with zeros if not.

    A label outside 0 … classes - 1 counts as none.

    Args:
        classes: number of labels, at least 1.
        channels: of the image, at least 1.
        size: of the image in pixels: 28, 32 or 64.
        width: as in `DcganDiscriminator`, at least 1.
        batch_norm: whether BatchNorm follows each convolution but the first and the last.
        initialisation: "pytorch" or "normal", as in `DcganDiscriminator`.

    Raises:
        InvalidValue: an argument is out of range.

    Source: Mirza and Osindero 2014 (arXiv:1411.1784), equation 2; Radford, Metz and Chintala 2016.
    """

    def __init__(
        self,
        classes: int = 10,
        channels: int = 1,
        size: int = 28,
        width: int = 64,
        batch_norm: bool = True,
        initialisation: str = "pytorch",
    ) -> None:
        super().__init__()
        require_counts(classes=classes, channels=channels)
        self.classes = classes
        self.network = DcganDiscriminator(channels + classes, size, width, batch_norm, initialisation)

    def reset_parameters(self, generator: torch.Generator | None = None) -> None:
        """Draw all parameters anew, in place, from `generator` (default: torch's global one)."""
        self.network.reset_parameters(generator)

    def forward(self, images: Tensor, labels: Tensor) -> Tensor:
        """Return logits (batch,) of images (batch, channels, size, size) and labels (batch,)."""
        told = one_hot(labels, self.classes, images.dtype)[:, :, None, None]
        return self.network(torch.cat([images, told.expand(-1, -1, *images.shape[2:])], 1))
