"""Differentiable augmentation of images: random colours, shifts and holes in all that the discriminator sees."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import pad

from detente.errors import require, unknown
from detente.filters.base import Filter, Strength, require_strengths

POLICIES = ("color", "translation", "cutout")
SHIFT, HOLE = 0.125, 0.5  # largest shift, and size of the hole, in heights and widths of the image


@dataclass(frozen=True)
class DiffAugment(Filter):
    """DiffAugment: random transformations of real and generated images alike, through which gradients pass.

    - color: brightness x + (u - ½), then saturation (x - m) 2u + m, where m is the mean over channels, then contrast
      (x - m)(u + ½) + m, where m is the mean of the image; each u ~ U[0, 1), one for each sample;
    - translation: a shift by up to an eighth of the height and of the width, whole pixels, with zeros outside;
    - cutout: zeros in a rectangle of half the height and half the width, at a random place, cut off at the edges.

    Real and generated images have independent random numbers from the same distribution. λ is the probability with
    which each group is applied to a sample; 1 is DiffAugment, and `AdaptiveAugmentation` adapts it.

    Args:
        policy: one or more of the names, separated by commas, applied in this order.
        strengths: λ in [0, 1], or a schedule, or several of these.

    Raises:
        InvalidValue: `policy` has an unknown name or none, or `strengths` is not in [0, 1].

    Source: Zhao et al. 2020, Differentiable Augmentation for Data-Efficient GAN Training (arXiv:2006.10738), and code
        (mit-han-lab/data-efficient-gans, `DiffAugment_pytorch.py`).
    """

    policy: str = "color,translation,cutout"
    strengths: Strength | tuple[Strength, ...] = 1.0

    def __post_init__(self) -> None:
        names = self.policy.split(",")
        for name in names:
            if name not in POLICIES:
                raise unknown("policy", name, POLICIES)
        require(len(names) == len(set(names)), "policy", self.policy, "each name once")
        require_strengths(self.strengths, most=1.0)

    def check(self, shape: tuple[int, ...]) -> None:
        """Raise `InvalidValue` unless samples are images, (channels, height, width)."""
        allowed = "for images (channels, height, width)"
        require(len(shape) == 3, "filter", f"DiffAugment for samples of shape {shape}", allowed)

    def draw(self, shape: torch.Size, generator: torch.Generator) -> dict[str, Tensor]:
        """Return uniform numbers on [0, 1) for each name of the policy, (batch, 3) or (batch, 2), and for λ."""
        counts = {name: 3 if name == "color" else 2 for name in self.policy.split(",")}
        return {
            name: torch.rand(shape[0], count, generator=generator, device=generator.device)
            for name, count in {**counts, "applied": len(counts)}.items()
        }

    def __call__(self, samples: Tensor, noise: dict[str, Tensor], strength: float | Tensor) -> Tensor:
        """Return the transformed images, (batch, channels, height, width)."""
        transformations = {"color": _color, "translation": _translation, "cutout": _cutout}
        for index, name in enumerate(self.policy.split(",")):
            transformed = transformations[name](samples, noise[name].to(samples.dtype))
            applied = noise["applied"][:, index] < strength
            samples = torch.where(applied[:, None, None, None], transformed, samples)
        return samples


def _color(x: Tensor, uniform: Tensor) -> Tensor:
    brightness, saturation, contrast = uniform[:, :, None, None, None].unbind(1)
    x = x + (brightness - 0.5)
    mean = x.mean(1, keepdim=True)
    x = (x - mean) * (2 * saturation) + mean
    mean = x.mean((1, 2, 3), keepdim=True)
    return (x - mean) * (contrast + 0.5) + mean


def _translation(x: Tensor, uniform: Tensor) -> Tensor:
    for axis, size in enumerate(x.shape[2:]):
        most = int(size * SHIFT + 0.5)
        shift = _whole(uniform[:, axis], 2 * most + 1) - most
        # Position 0 and the last one of the padded image are zeros, from which all pixels outside are read.
        index = (torch.arange(1, size + 1, device=x.device) + shift[:, None]).clamp(0, size + 1)
        rows = axis == 0
        padded = pad(x, (0, 0, 1, 1) if rows else (1, 1, 0, 0))
        index = index[:, None, :, None] if rows else index[:, None, None, :]
        x = padded.gather(2 + axis, index.expand(x.shape))
    return x


def _cutout(x: Tensor, uniform: Tensor) -> Tensor:
    inside = []
    for axis, size in enumerate(x.shape[2:]):
        hole = int(size * HOLE + 0.5)
        start = _whole(uniform[:, axis], size + 1 - hole % 2) - hole // 2
        position = torch.arange(size, device=x.device) - start[:, None]
        inside.append((position >= 0) & (position < hole))
    covered = inside[0][:, None, :, None] & inside[1][:, None, None, :]
    return torch.where(covered, 0.0, x)


def _whole(uniform: Tensor, count: int) -> Tensor:
    """Return whole numbers 0 … count - 1 from uniform numbers on [0, 1)."""
    return (uniform * count).long().clamp(max=count - 1)
