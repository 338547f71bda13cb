"""The residual networks of WGAN-GP's character model, with convolutions along a text."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from detente.networks.base import draw_weights, require_counts

KERNEL, SHARE = 5, 0.3


class TextResnetGenerator(nn.Module):
    """A fully connected layer, then residual blocks along the text, to probabilities of characters at each position.

    h ← h + 0.3 Conv(f(Conv(f(h)))),  text = softmax(Conv₁(h)) over the vocabulary;  Conv of size 5, f the ReLU.

    Initial weights are Xavier uniform, multiplied by √2 in convolutions; initial biases are zero.

    Args:
        vocabulary: number of characters, at least 1.
        latent: size of a latent vector, at least 1.
        length: length of a text in characters, at least 1.
        width: channels at each position, at least 1.
        blocks: number of residual blocks, at least 1: 5 in WGAN-GP's code, 4 in SGAN's paper.

    Raises:
        InvalidValue: an argument is out of range.

    Source: Gulrajani et al. 2017 (arXiv:1704.00028), section 5.3; sizes and initial weights from its reference code.
    """

    def __init__(self, vocabulary: int, latent: int = 128, length: int = 32, width: int = 512, blocks: int = 5) -> None:
        super().__init__()
        require_counts(vocabulary=vocabulary, latent=latent, length=length, width=width, blocks=blocks)
        self.layers = nn.Sequential(
            nn.Linear(latent, width * length),
            nn.Unflatten(1, (width, length)),
            *[_Block(width) for _ in range(blocks)],
            nn.Conv1d(width, vocabulary, 1),
            nn.Softmax(1),
        )
        self.reset_parameters()

    def reset_parameters(self, generator: torch.Generator | None = None) -> None:
        """Initialise all parameters again, in place, from `generator` (default: torch's global generator)."""
        draw_weights(self, "xavier_uniform", generator, _gain)

    def forward(self, latents: Tensor) -> Tensor:
        """Return texts (batch, vocabulary, length), which sum to 1 at each position, from latents (batch, latent)."""
        return self.layers(latents)


class TextResnetDiscriminator(nn.Module):
    """Residual blocks along a text, then a fully connected layer to one score.

    h = Conv₁(x),  h ← h + 0.3 Conv(f(Conv(f(h)))),  score = w · h + b;  Conv of size 5, f the ReLU.

    Initial weights are as in the generator.

    Args:
        vocabulary: number of characters, at least 1.
        length: length of a text in characters, at least 1.
        width: channels at each position, at least 1.
        blocks: number of residual blocks, at least 1.

    Raises:
        InvalidValue: an argument is out of range.

    Source: Gulrajani et al. 2017 (arXiv:1704.00028), section 5.3; sizes and initial weights from its reference code.
    """

    def __init__(self, vocabulary: int, length: int = 32, width: int = 512, blocks: int = 5) -> None:
        super().__init__()
        require_counts(vocabulary=vocabulary, length=length, width=width, blocks=blocks)
        self.layers = nn.Sequential(
            nn.Conv1d(vocabulary, width, 1),
            *[_Block(width) for _ in range(blocks)],
            nn.Flatten(),
            nn.Linear(width * length, 1),
        )
        self.reset_parameters()

    def reset_parameters(self, generator: torch.Generator | None = None) -> None:
        """Initialise all parameters again, in place, from `generator` (default: torch's global generator)."""
        draw_weights(self, "xavier_uniform", generator, _gain)

    def forward(self, texts: Tensor) -> Tensor:
        """Return scores (batch,) for texts (batch, vocabulary, length): one-hot, or probabilities."""
        return self.layers(texts).squeeze(1)


class _Block(nn.Module):
    """h + 0.3 Conv(f(Conv(f(h)))), along the text."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.ReLU(),
            nn.Conv1d(width, width, KERNEL, padding=KERNEL // 2),
            nn.ReLU(),
            nn.Conv1d(width, width, KERNEL, padding=KERNEL // 2),
        )

    def forward(self, h: Tensor) -> Tensor:
        """Return features (batch, width, length) from features of the same shape."""
        return h + SHARE * self.layers(h)


def _gain(layer: nn.Module) -> float:
    """Return the factor of a layer's initial weights."""
    return math.sqrt(2) if isinstance(layer, nn.Conv1d) else 1.0
