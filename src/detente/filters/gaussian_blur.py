"""Gaussian blur of images."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from detente.errors import require
from detente.filters.base import Filter, Strength, require_strengths

NOTHING = 1e-3  # pixels; at this width the neighbours' weight, exp(−½ 10⁶), is zero in any floating-point type


@dataclass(frozen=True)
class GaussianBlur(Filter):
    """Gaussian blur: each pixel becomes a mean with weights exp(−d²/2λ²), per channel, with mirrored edges.

    The weights factor into rows and columns, so A_λ(x) = K x Kᵀ, where the rows and columns of the matrix K sum to one.
    The mean brightness does not change, and λ may change during training.

    Args:
        strengths: λ ≥ 0 in pixels, or a schedule, or several of these; 0 changes nothing. Useful up to about the
            image's size, where only the mean remains.

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
    position = torch.arange(size, dtype=like.dtype, device=like.device)
    width = torch.as_tensor(strength, dtype=like.dtype, device=like.device).clamp(min=NOTHING)
    offsets = torch.stack((position.unsqueeze(1) - position, position.unsqueeze(1) + position + 1))
    periods = 2 * size * torch.arange(-2, 3, dtype=like.dtype, device=like.device).reshape(5, 1, 1, 1)
    weights = torch.exp(-0.5 * ((offsets + periods) / width).square()).sum((0, 1))
    negligible = torch.finfo(like.dtype).tiny ** 0.5  # denormal numbers would make the product thirty times as slow
    weights = weights.where(weights > negligible, 0.0)
    return weights / weights.sum(1, keepdim=True)
