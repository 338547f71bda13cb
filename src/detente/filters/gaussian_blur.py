"""Images out of focus."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from detente.errors import require
from detente.filters.base import Filter, Strength, require_strengths

NOTHING = 1e-3  # pixels: at this width the neighbours' weight, exp(−½ 10⁶), is zero in any floating type


@dataclass(frozen=True)
class GaussianBlur(Filter):
    """Every pixel the mean of its surroundings, weighted with exp(−d²/2λ²), channel by channel; mirrored at the edges.

    The weights are products of one for rows and one for columns, so A_λ(x) = K x Kᵀ with a matrix K whose rows and
    columns sum to one: no brightness is lost, and λ may change over training.

    Args:
        strengths: λ ≥ 0 in pixels, or a schedule, or several of these; 0 changes nothing. Up to about the image's
            size, where all that is left is its mean.

    Source: NIPS 2017 submission on noisy discriminator gradients, eq. 9 (blur not specified there); mirrored edges as
        in `scipy.ndimage.gaussian_filter`.
    """

    strengths: Strength | tuple[Strength, ...] = 1.0

    def __post_init__(self) -> None:
        require_strengths(self.strengths)

    def check(self, shape: tuple[int, ...]) -> None:
        """Raise `InvalidValue` unless samples are images, (channels, height, width)."""
        allowed = "for images (channels, height, width); for points, `gaussian_smoothing`"
        require(len(shape) == 3, "filter", f"GaussianBlur for samples of shape {shape}", allowed)

    def __call__(self, samples: Tensor, noise: dict[str, Tensor], strength: float | Tensor) -> Tensor:
        """Return K x Kᵀ of images (batch, channels, height, width)."""
        height, width = samples.shape[-2:]
        rows = _kernel(height, strength, samples)
        columns = rows if width == height else _kernel(width, strength, samples)
        return rows @ samples @ columns.T


def _kernel(size: int, strength: float | Tensor, like: Tensor) -> Tensor:
    """Return K, (size, size), with the weights of a pixel and of its nearest mirror images."""
    at = torch.arange(size, dtype=like.dtype, device=like.device)
    width = torch.as_tensor(strength, dtype=like.dtype, device=like.device).clamp(min=NOTHING)
    nearest = torch.stack((at.unsqueeze(1) - at, at.unsqueeze(1) + at + 1))
    turns = 2 * size * torch.arange(-2, 3, dtype=like.dtype, device=like.device).reshape(5, 1, 1, 1)
    weights = torch.exp(-0.5 * ((nearest + turns) / width).square()).sum((0, 1))
    nothing = torch.finfo(like.dtype).tiny ** 0.5  # denormal numbers would take a product thirty times as long
    weights = weights.where(weights > nothing, 0.0)
    return weights / weights.sum(1, keepdim=True)
