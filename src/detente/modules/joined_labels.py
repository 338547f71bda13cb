"""Labels that hooks add to a module's inputs or outputs, whatever the module does with them itself."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn

from detente.errors import require

SHIFT, HEAD = "label_shift", "label_head"  # layers of a module with joined labels


class _Shifted:
    """The hook that adds a learned vector for each label to the latents."""

    def __call__(self, module: nn.Module, inputs: tuple[Any, ...]) -> tuple[Any, ...]:
        latents, labels, *others = inputs
        shift: Any = getattr(module, SHIFT)
        return (latents + shift(labels).to(latents.dtype).reshape(latents.shape), labels, *others)


class _Scored:
    """The hook that adds a learned linear score for each label, ⟨w_y, x⟩, to a discriminator's own."""

    def __call__(self, module: nn.Module, inputs: tuple[Any, ...], output: Any) -> Any:
        samples, labels, *_ = inputs
        require(isinstance(output, Tensor), "labels", f"scores of type {type(output).__name__}", "one tensor of scores")
        head: Any = getattr(module, HEAD)
        score = (samples.flatten(1).to(output.dtype) * head(labels).to(output.dtype)).sum(1)
        return output + score.reshape(-1, *[1] * (output.dim() - 1))


def labels_joined_to_latents(module: nn.Module, classes: int, numbers: int) -> nn.Module:
    """Make a generator use labels: G(z + e_y, y) with learned vectors e_y, in place; return it.

    Args:
        module: a module of latents and labels.
        classes: number of labels, ≥ 1.
        numbers: numbers in a latent.
    """
    require(not hasattr(module, SHIFT), "labels", type(module).__name__, "a module without joined labels")
    module.add_module(SHIFT, nn.Embedding(classes, numbers))
    module.register_forward_pre_hook(_Shifted())
    return module


def labels_joined_to_scores(module: nn.Module, classes: int, numbers: int) -> nn.Module:
    """Make a discriminator use labels: D(x, y) + ⟨w_y, x⟩ with learned w_y, in place; return it.

    Args:
        module: a module of samples and labels.
        classes: number of labels, ≥ 1.
        numbers: numbers in a sample.

    Source: Miyato & Koyama 2018, cGANs with Projection Discriminator (arXiv:1802.05637), equation 6, on x itself.
    """
    require(not hasattr(module, HEAD), "labels", type(module).__name__, "a module without joined labels")
    head = nn.Embedding(classes, numbers)
    with torch.no_grad():
        head.weight.mul_(1 / math.sqrt(numbers))
    module.add_module(HEAD, head)
    module.register_forward_hook(_Scored())
    return module
