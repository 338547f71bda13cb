"""The residual networks of The Numerics of GANs for faces of 64 pixels, with residuals scaled by 0.1."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from detente.errors import require
from detente.networks.base import draw_weights, halved, require_counts, same_convolution, same_transposed

STAGES, KERNEL, SLOPE, SHARE = 4, 5, 0.2, 0.1


class ScaledResnetGenerator(nn.Module):
    """Transposed convolutions of equal width to an image in [-1, 1], with a residual block after each except the last.

    h ← ConvT(f(h)),  h ← h + 0.1 Conv(f(Conv(f(h)))),  ConvT 5×5 of stride 2, Conv 3×3 with half the channels between.

    There is no normalisation; f is the leaky ReLU of slope 0.2. Padding is TensorFlow's "same". Initial weights are
    Xavier uniform, initial biases are zero.

    Args:
        latent: size of a latent vector, at least 1.
        channels: channels of the image, at least 1.
        size: side of the image in pixels, at least 16.
        width: channels of all hidden layers, at least 2.

    Raises:
        InvalidValue: an argument is out of range.

    Source: Mescheder, Nowozin and Geiger 2017, figures 4 and 10; sizes from its reference code (`resnet_cf`).
    """

    def __init__(self, latent: int = 256, channels: int = 3, size: int = 64, width: int = 128) -> None:
        super().__init__()
        require_counts(latent=latent)
        _check(channels, size, width)
        sides = halved(size, STAGES)
        layers: list[nn.Module] = [
            nn.Linear(latent, width * sides[-1] ** 2),
            nn.Unflatten(1, (width, sides[-1], sides[-1])),
        ]
        for side in sides[-2:0:-1]:
            layers += [nn.LeakyReLU(SLOPE), *same_transposed(width, width, KERNEL, side), _Block(width, width // 2)]
        layers += [nn.LeakyReLU(SLOPE), *same_transposed(width, channels, KERNEL, size), nn.Tanh()]
        self.layers = nn.Sequential(*layers)
        self.reset_parameters()

    def reset_parameters(self, generator: torch.Generator | None = None) -> None:
        """Initialise all parameters again, in place, from `generator` (default: torch's global generator)."""
        draw_weights(self, "xavier_uniform", generator)

    def forward(self, latents: Tensor) -> Tensor:
        """Return images (batch, channels, size, size) in [-1, 1] from latent vectors (batch, latent)."""
        return self.layers(latents)


class ScaledResnetDiscriminator(nn.Module):
    """Convolutions of equal width with a residual block after each, then a fully connected layer to one logit.

    h ← Conv₅(f(h)),  h ← h + 0.1 Conv₃(f(Conv₃(f(h)))),  score = w · f(h).

    Like the generator, but the first block does not halve the channels between its convolutions, as in the reference
    code.

    Args:
        channels: channels of the image, at least 1.
        size: side of the image in pixels, at least 16.
        width: channels of all hidden layers, at least 2.

    Raises:
        InvalidValue: an argument is out of range.

    Source: Mescheder, Nowozin and Geiger 2017, figures 4 and 10; sizes from its reference code (`resnet_cf`).
    """

    def __init__(self, channels: int = 3, size: int = 64, width: int = 128) -> None:
        super().__init__()
        _check(channels, size, width)
        sides = halved(size, STAGES)
        layers: list[nn.Module] = [*same_convolution(channels, width, KERNEL, size), _Block(width, width)]
        for side in sides[1:-1]:
            layers += [nn.LeakyReLU(SLOPE), *same_convolution(width, width, KERNEL, side), _Block(width, width // 2)]
        layers += [nn.LeakyReLU(SLOPE), nn.Flatten(), nn.Linear(width * sides[-1] ** 2, 1)]
        self.layers = nn.Sequential(*layers)
        self.reset_parameters()

    def reset_parameters(self, generator: torch.Generator | None = None) -> None:
        """Initialise all parameters again, in place, from `generator` (default: torch's global generator)."""
        draw_weights(self, "xavier_uniform", generator)

    def forward(self, images: Tensor) -> Tensor:
        """Return logits (batch,) for images (batch, channels, size, size)."""
        return self.layers(images).squeeze(1)


class _Block(nn.Module):
    """h + 0.1 Conv(f(Conv(f(h)))), 3×3, with `between` channels between the convolutions."""

    def __init__(self, width: int, between: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.LeakyReLU(SLOPE),
            nn.Conv2d(width, between, 3, padding=1),
            nn.LeakyReLU(SLOPE),
            nn.Conv2d(between, width, 3, padding=1),
        )

    def forward(self, h: Tensor) -> Tensor:
        """Return features in the shape of `h`."""
        return h + SHARE * self.layers(h)


def _check(channels: int, size: int, width: int) -> None:
    """Raise `InvalidValue` for an argument out of range."""
    require_counts(channels=channels)
    require(isinstance(width, int) and width >= 2, "width", width, "a whole number of at least 2, which can be halved")
    require(isinstance(size, int) and size >= 2**STAGES, "size", size, f"a whole number of at least {2**STAGES}")
