"""BatchNorm of plain operations, for losses that differentiate the discriminator themselves.

torch's second derivative of `batch_norm` takes mean and variance for constants when it is differentiated once more. A
penalty on the discriminator's slope has one derivative in the loss already, so the Jacobian of the field needs a third.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional
from torch.nn.modules.batchnorm import _BatchNorm
from torch.overrides import TorchFunctionMode


def exact_third_derivatives(game: object) -> AbstractContextManager | None:
    """Return a context in which BatchNorm is right to any order, or None where the game has no need of it."""
    modules, penalties = getattr(game, "modules", None), getattr(game, "penalties", ())
    if not (penalties and isinstance(modules, Mapping) and "discriminator" in modules):
        return None
    needed = any(isinstance(part, _BatchNorm) for part in modules["discriminator"].modules())
    return _Plain() if needed else None


class _Plain(TorchFunctionMode):
    """Calls of `batch_norm` are answered by this file's; all others go to torch."""

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        return (_batch_norm if func is functional.batch_norm else func)(*args, **(kwargs or {}))


def _batch_norm(
    x: Tensor,
    running_mean: Tensor | None,
    running_var: Tensor | None,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    training: bool = False,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> Tensor:
    if not training or x.dim() < 2 or x.numel() <= x.shape[1]:  # nothing to differentiate through, or torch's error
        return functional.batch_norm(x, running_mean, running_var, weight, bias, training, momentum, eps)
    over, shape = [0, *range(2, x.dim())], (1, -1, *[1] * (x.dim() - 2))
    mean = x.mean(over, keepdim=True)
    centred = x - mean
    variance = centred.square().mean(over, keepdim=True)
    with torch.no_grad():
        count = x.numel() // x.shape[1]
        for running, found in ((running_mean, mean), (running_var, variance * (count / (count - 1)))):
            if running is not None:
                running.mul_(1 - momentum).add_(found.reshape(-1), alpha=momentum)
    y = centred * (variance + eps).rsqrt()
    y = y if weight is None else y * weight.view(shape)
    return y if bias is None else y + bias.view(shape)
