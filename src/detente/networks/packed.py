"""Packing: a discriminator that judges several samples at once, so that it sees a lack of variety."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from detente.errors import InvalidValue, require
from detente.networks.base import require_counts


class Packed(nn.Module):
    """A discriminator of p samples at a time, all real or all generated, stacked as channels.

    score = D([x_1, …, x_p]),  for the batch's samples 1 … p, p + 1 … 2p, and so on.

    There is one score for each p samples. Only the first layer of D grows. Penalties on the norm of the gradient see
    each sample's part of it.

    Args:
        network: D, for samples of p times the channels (p times the coordinates of points), for example
            `DcganDiscriminator(samples * channels)`.
        samples: p, at least 1; the batch must be a multiple of it. PacGAN uses 2, 3 and 4.

    Raises:
        InvalidValue: an argument is out of range; when called, the batch is not a multiple of p.

    Source: Lin, Khetan, Fanti and Oh 2018, PacGAN (arXiv:1712.04086), section 2.
    """

    def __init__(self, network: nn.Module, samples: int = 2) -> None:
        super().__init__()
        require_counts(samples=samples)
        require(isinstance(network, nn.Module), "network", network, "an nn.Module")
        self.samples = samples
        self.network: Any = network

    def reset_parameters(self, generator: torch.Generator | None = None) -> None:
        """Initialise all parameters of `network` again, in place, from `generator` (default: torch's global one)."""
        self.network.reset_parameters(generator)

    def forward(self, samples: Tensor) -> Tensor:
        """Return the scores of packs, (batch / p,), for samples (batch, channels, …)."""
        if len(samples) % self.samples:
            raise InvalidValue("batch", len(samples), f"a multiple of {self.samples}, the samples in a pack")
        return self.network(samples.unflatten(0, (-1, self.samples)).flatten(1, 2))
