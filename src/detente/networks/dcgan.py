"""Deep convolutional generator and discriminator for images of 28, 32 or 64 pixels a side."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from detente.errors import require, unknown
from detente.networks.base import draw_weights, require_counts

INITIALISATIONS = ("pytorch", "normal")

# Layers in order, by image size: (factor of the width, kernel, stride, padding); factor 0 marks the output layer.
GENERATORS = {
    28: ((8, 3, 1, 0), (4, 4, 2, 1), (2, 4, 2, 0), (0, 4, 2, 1)),
    32: ((4, 4, 1, 0), (2, 4, 2, 1), (1, 4, 2, 1), (0, 4, 2, 1)),
    64: ((8, 4, 1, 0), (4, 4, 2, 1), (2, 4, 2, 1), (1, 4, 2, 1), (0, 4, 2, 1)),
}
DISCRIMINATORS = {
    28: ((1, 4, 2, 1), (2, 4, 2, 1), (4, 4, 2, 1), (0, 3, 1, 0)),
    32: ((1, 4, 2, 1), (2, 4, 2, 1), (4, 4, 2, 1), (0, 4, 1, 0)),
    64: ((1, 4, 2, 1), (2, 4, 2, 1), (4, 4, 2, 1), (8, 4, 2, 1), (0, 4, 1, 0)),
}


class DcganGenerator(nn.Module):
    """Transposed convolutions from a latent vector to an image in [-1, 1], with ReLU between and tanh at the end.

    image = tanh(ConvT(… relu(BN(ConvT(z))) …)).

    With size 28, width 64, one channel and latent 128 this is table 1 of SVRG-GAN. Convolutions have no bias, except
    with `batch_norm=False`, where a bias replaces the shift of BatchNorm.

    Args:
        latent: size of a latent vector, at least 1.
        channels: channels of the image, at least 1.
        size: side of the image in pixels: 28, 32 or 64.
        width: channels of the layer before the output (half of them at size 28), at least 1.
        batch_norm: whether BatchNorm follows each convolution except the last.
        initialisation: "pytorch", or "normal" for weights from N(0, 0.02²) and BatchNorm scales from N(1, 0.02²).

    Raises:
        InvalidValue: an argument is out of range.

    Source: Radford, Metz and Chintala 2016; Chavdarova et al. 2018 (SVRG-GAN), table 1, paddings from the later code.
    """

    def __init__(
        self,
        latent: int = 128,
        channels: int = 1,
        size: int = 28,
        width: int = 64,
        batch_norm: bool = True,
        initialisation: str = "pytorch",
    ) -> None:
        super().__init__()
        require_counts(latent=latent)
        _check(channels, size, width, initialisation)
        self.latent, self.initialisation = latent, initialisation
        layers: list[nn.Module] = []
        before = latent
        for factor, kernel, stride, padding in GENERATORS[size]:
            inner = factor > 0
            after = factor * width or channels
            layers.append(nn.ConvTranspose2d(before, after, kernel, stride, padding, bias=inner and not batch_norm))
            layers += [nn.BatchNorm2d(after)] if inner and batch_norm else []
            layers.append(nn.ReLU() if inner else nn.Tanh())
            before = after
        self.layers = nn.Sequential(*layers)
        if initialisation != "pytorch":
            self.reset_parameters()

    def reset_parameters(self, generator: torch.Generator | None = None) -> None:
        """Initialise all parameters again, in place, from `generator` (default: torch's global generator)."""
        draw_weights(self, self.initialisation, generator)

    def forward(self, latents: Tensor) -> Tensor:
        """Return images (batch, channels, size, size) in [-1, 1] from latent vectors (batch, latent)."""
        return self.layers(latents.unflatten(1, (self.latent, 1, 1)))


class DcganDiscriminator(nn.Module):
    """Strided convolutions from an image to one logit, with leaky ReLU of slope 0.2 between.

    score = Conv(… leaky_relu(BN(Conv(leaky_relu(Conv(x))))) …).

    With size 28, width 64 and one channel this is table 1 of SVRG-GAN without its sigmoid, which is part of the
    objective. Convolutions have no bias, except with `batch_norm=False`, where a bias replaces the shift of BatchNorm.

    Args:
        channels: channels of the image, at least 1.
        size: side of the image in pixels: 28, 32 or 64.
        width: channels after the first layer, at least 1.
        batch_norm: whether BatchNorm follows each convolution except the first and the last.
        initialisation: "pytorch", or "normal" for weights from N(0, 0.02²) and BatchNorm scales from N(1, 0.02²).

    Raises:
        InvalidValue: an argument is out of range.

    Source: Radford, Metz and Chintala 2016; Chavdarova et al. 2018 (SVRG-GAN), table 1, paddings from the later code.
    """

    def __init__(
        self,
        channels: int = 1,
        size: int = 28,
        width: int = 64,
        batch_norm: bool = True,
        initialisation: str = "pytorch",
    ) -> None:
        super().__init__()
        _check(channels, size, width, initialisation)
        self.initialisation = initialisation
        layers: list[nn.Module] = []
        before = channels
        for position, (factor, kernel, stride, padding) in enumerate(DISCRIMINATORS[size]):
            inner = factor > 0 and position > 0
            after = factor * width or 1
            layers.append(nn.Conv2d(before, after, kernel, stride, padding, bias=inner and not batch_norm))
            layers += [nn.BatchNorm2d(after)] if inner and batch_norm else []
            layers += [nn.LeakyReLU(0.2)] if factor > 0 else []
            before = after
        self.layers = nn.Sequential(*layers)
        if initialisation != "pytorch":
            self.reset_parameters()

    def reset_parameters(self, generator: torch.Generator | None = None) -> None:
        """Initialise all parameters again, in place, from `generator` (default: torch's global generator)."""
        draw_weights(self, self.initialisation, generator)

    def forward(self, images: Tensor) -> Tensor:
        """Return logits (batch,) for images (batch, channels, size, size)."""
        return self.layers(images).reshape(images.shape[0])


def _check(channels: int, size: int, width: int, initialisation: str) -> None:
    """Raise `InvalidValue` for an argument out of range."""
    require_counts(channels=channels, width=width)
    require(size in GENERATORS, "size", size, "28, 32 or 64")
    if initialisation not in INITIALISATIONS:
        raise unknown("initialisation", initialisation, INITIALISATIONS)
