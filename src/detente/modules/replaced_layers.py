"""Layers of a module replaced or initialised again, in place."""

from __future__ import annotations

import re
from typing import Any

from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.instancenorm import _InstanceNorm

from detente.errors import require

SLOWEST = 1e-3  # momentum of BatchNorm's statistics; below, a thousand steps do not move them


class UnlessOnePixel(nn.Module):
    """A normalisation of each channel, which maps of one pixel skip: it would make them zero.

    Args:
        norm: the layer, for maps (batch, channels, …).
    """

    def __init__(self, norm: nn.Module) -> None:
        super().__init__()
        self.norm = norm

    def forward(self, x: Tensor) -> Tensor:
        """Return the normalised map, or x itself if it has one pixel."""
        return x if x.dim() > 2 and x.shape[2:].numel() == 1 else self.norm(x)


def without_mates(module: nn.Module) -> nn.Module:
    """Replace, in place, normalisation over a batch by one over each sample, and skip it on maps of one pixel.

    BatchNorm becomes GroupNorm of one group, which is layer norm. InstanceNorm and other layers whose name says that
    they normalise are kept, but skipped on maps of one pixel.

    Raises:
        InvalidValue: the module has no such layer.
    """
    count = 0
    for parent in [*module.modules()]:
        if isinstance(parent, UnlessOnePixel):
            continue
        for name, child in [*parent.named_children()]:
            if isinstance(child, _BatchNorm):
                setattr(parent, name, nn.GroupNorm(1, child.num_features, eps=child.eps))
                count += 1
            elif _is_per_channel(child):
                setattr(parent, name, UnlessOnePixel(child))
                count += 1
    require(count > 0, "norm", type(module).__name__, "a module with a normalisation layer")
    return module


def has_layers(module: nn.Module) -> bool:
    """Whether a module has a layer that `without_mates` replaces."""
    parts = [part for part in module.modules() if isinstance(part, _BatchNorm) or _is_per_channel(part)]
    return len(parts) > 0 and not any(isinstance(part, UnlessOnePixel) for part in module.modules())


def with_working_norms(module: nn.Module) -> nn.Module:
    """Repair, in place, normalisation that has no effect; other layers are unchanged.

    Normalisation of each channel is skipped on maps of one pixel, and BatchNorm whose statistics hardly follow
    (momentum below 0.001) gets its default momentum, 0.1.

    Raises:
        InvalidValue: the module has no such layer.
    """
    require(has_idle_norms(module), "norm", type(module).__name__, "a module with a normalisation layer")
    for parent in [*module.modules()]:
        if isinstance(parent, UnlessOnePixel):
            continue
        for name, child in [*parent.named_children()]:
            if isinstance(child, _BatchNorm) and _hardly_follows(child):
                child.momentum = 0.1
            elif _is_per_channel(child):
                setattr(parent, name, UnlessOnePixel(child))
    return module


def has_idle_norms(module: nn.Module) -> bool:
    """Whether a module has a layer that `with_working_norms` repairs."""
    parts = [part for part in module.modules() if _hardly_follows(part) or _is_per_channel(part)]
    return len(parts) > 0 and not any(isinstance(part, UnlessOnePixel) for part in module.modules())


def _hardly_follows(layer: nn.Module) -> bool:
    """Whether a layer is BatchNorm whose running statistics stay where they start."""
    if not isinstance(layer, _BatchNorm) or not layer.track_running_stats or layer.momentum is None:
        return False
    return layer.momentum < SLOWEST


def _is_per_channel(layer: nn.Module) -> bool:
    """Whether a layer normalises each channel of a sample, or is a user's layer that may do so."""
    if isinstance(layer, nn.GroupNorm):
        return layer.num_groups == layer.num_channels
    is_users_own = not type(layer).__module__.startswith("torch.")
    named = is_users_own and not [*layer.children()] and re.search("norm", type(layer).__name__, re.I) is not None
    return isinstance(layer, _InstanceNorm) or named


def initialized_again(module: nn.Module) -> nn.Module:
    """Initialise all layers in place as PyTorch does by default, from torch's global generator.

    Weights that belong to no layer with such a default get uniform numbers on ±√(1/fan-in) as in `nn.Linear`.
    """
    for layer in module.modules():
        reset: Any = getattr(layer, "reset_parameters", None)
        if callable(reset) and type(layer).__module__.startswith("torch.nn"):
            reset()
        elif not type(layer).__module__.startswith("torch.nn"):
            for weight in layer._parameters.values():
                if weight is not None and weight.dim() >= 2:
                    bound = (weight.shape[0] / weight.numel()) ** 0.5
                    nn.init.uniform_(weight, -bound, bound)
    return module


def with_gradients(module: nn.Module) -> nn.Module:
    """Make all floating-point parameters trainable, in place."""
    for parameter in module.parameters():
        parameter.requires_grad_(parameter.is_floating_point())
    return module


def widened(module: nn.Module, samples: int) -> nn.Module:
    """Replace, in place, the first linear or convolutional layer by one for `samples` times as many inputs.

    Raises:
        InvalidValue: there is no such layer, or it works in groups.
    """
    for parent in [*module.modules()]:
        for name, child in [*parent.named_children()]:
            if isinstance(child, nn.Linear):
                new: nn.Module = nn.Linear(child.in_features * samples, child.out_features, child.bias is not None)
            elif isinstance(child, (nn.Conv1d, nn.Conv2d, nn.Conv3d)) and child.groups == 1:
                kind: Any = type(child)
                new = kind(
                    child.in_channels * samples,
                    child.out_channels,
                    child.kernel_size,
                    child.stride,
                    child.padding,
                    child.dilation,
                    bias=child.bias is not None,
                    padding_mode=child.padding_mode,
                )
            else:
                continue
            setattr(parent, name, new.to(child.weight.dtype))
            return module
    require(False, "packed", type(module).__name__, "a module whose first layer is linear or convolutional")
    return module
