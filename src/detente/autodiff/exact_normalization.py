"""Batch, instance and layer norm composed of simple operations, with correct derivatives of any order.

When torch's second derivatives of these functions are differentiated again, they treat mean and variance as constants.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional


def batch_norm(
    x: Tensor,
    running_mean: Tensor | None,
    running_var: Tensor | None,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    training: bool = False,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> Tensor:
    """Return `functional.batch_norm`; in evaluation mode, and for invalid input, call torch's own function."""
    if not training or x.dim() < 2 or x.numel() <= x.shape[1]:
        return functional.batch_norm(x, running_mean, running_var, weight, bias, training, momentum, eps)
    y, mean, variance = _standardized(x, [0, *range(2, x.dim())], eps)
    count = x.numel() // x.shape[1]
    update_running_statistics(
        momentum, (running_mean, mean.reshape(-1)), (running_var, variance.reshape(-1) * (count / (count - 1)))
    )
    return _scaled(y, weight, bias)


def _standardized(x: Tensor, over: Sequence[int], eps: float) -> tuple[Tensor, Tensor, Tensor]:
    """Return (x − mean)/√(variance + eps), the mean and the biased variance over some axes (with keepdim=True)."""
    mean = x.mean(over, keepdim=True)  # pyright: ignore
    centred = x - mean
    variance = centred.square().mean(over, keepdim=True)  # pyright: ignore
    return centred * (variance + eps).rsqrt(), mean, variance


def _scaled(y: Tensor, weight: Tensor | None, bias: Tensor | None) -> Tensor:
    """Return y · weight + bias, with one weight and bias per channel (axis 1)."""
    shape = (1, -1, *[1] * (y.dim() - 2))
    y = y if weight is None else y * weight.view(shape)
    return y if bias is None else y + bias.view(shape)


@torch.no_grad()
def update_running_statistics(momentum: float, *statistics: tuple[Tensor | None, Tensor]) -> None:
    """Update running statistics with those of a batch."""
    for running, latest in statistics:
        if running is not None:
            running.mul_(1 - momentum).add_(latest.to(running.dtype), alpha=momentum)


def _torch_batch_norm(
    input: Tensor,
    weight: Tensor | None,
    bias: Tensor | None,
    running_mean: Tensor | None,
    running_var: Tensor | None,
    training: bool,
    momentum: float,
    eps: float,
    cudnn_enabled: bool = True,
) -> Tensor:
    del cudnn_enabled
    return batch_norm(input, running_mean, running_var, weight, bias, training, momentum, eps)


def _native_batch_norm(
    input: Tensor,
    weight: Tensor | None,
    bias: Tensor | None,
    running_mean: Tensor | None,
    running_var: Tensor | None,
    training: bool,
    momentum: float,
    eps: float,
) -> tuple[Tensor, Tensor, Tensor]:
    """Return `torch.native_batch_norm`: output, mean, 1/√(variance + eps); the latter two are empty in evaluation."""
    y = batch_norm(input, running_mean, running_var, weight, bias, training, momentum, eps)
    if not training:
        return y, input.new_empty(0), input.new_empty(0)
    _, mean, variance = _standardized(input, [0, *range(2, input.dim())], eps)
    return y, mean.reshape(-1), (variance + eps).rsqrt().reshape(-1)


def _instance_norm(
    input: Tensor,
    running_mean: Tensor | None = None,
    running_var: Tensor | None = None,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    use_input_stats: bool = True,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> Tensor:
    if not use_input_stats or input.dim() < 3 or (count := input.shape[2:].numel()) <= 1:
        return functional.instance_norm(input, running_mean, running_var, weight, bias, use_input_stats, momentum, eps)
    y, mean, variance = _standardized(input, list(range(2, input.dim())), eps)
    mean, variance = mean.flatten(1).mean(0), variance.flatten(1).mean(0) * (count / (count - 1))
    update_running_statistics(momentum, (running_mean, mean), (running_var, variance))
    return _scaled(y, weight, bias)


def _torch_instance_norm(
    input: Tensor,
    weight: Tensor | None,
    bias: Tensor | None,
    running_mean: Tensor | None,
    running_var: Tensor | None,
    use_input_stats: bool,
    momentum: float,
    eps: float,
    cudnn_enabled: bool = True,
) -> Tensor:
    if input.shape[2:].numel() <= 1:  # an error in `functional.instance_norm`, but not here
        return torch.instance_norm(
            input, weight, bias, running_mean, running_var, use_input_stats, momentum, eps, cudnn_enabled
        )
    return _instance_norm(input, running_mean, running_var, weight, bias, use_input_stats, momentum, eps)


def _layer_norm(
    input: Tensor,
    normalized_shape: Sequence[int],
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    eps: float = 1e-5,
    cudnn_enable: bool = True,
) -> Tensor:
    del cudnn_enable
    return _native_layer_norm(input, normalized_shape, weight, bias, eps)[0]


def _native_layer_norm(
    input: Tensor, normalized_shape: Sequence[int], weight: Tensor | None, bias: Tensor | None, eps: float
) -> tuple[Tensor, Tensor, Tensor]:
    """Return `torch.native_layer_norm`: output, mean and 1/√(variance + eps)."""
    shape = tuple(normalized_shape)
    wrong = any(t is not None and tuple(t.shape) != shape for t in (weight, bias))
    if not shape or tuple(input.shape[-len(shape) :]) != shape or wrong:  # torch raises the error
        return torch.native_layer_norm(input, normalized_shape, weight, bias, eps)
    # For shorter dtypes, torch computes in float32.
    x = input.float() if input.dtype in (torch.float16, torch.bfloat16) else input
    y, mean, variance = _standardized(x, list(range(-len(shape), 0)), eps)
    y = y if weight is None else y * weight
    y = y if bias is None else y + bias
    return y.to(input.dtype), mean, (variance + eps).rsqrt()


THIRD: Mapping[Callable[..., Any], Callable[..., Any]] = {
    functional.batch_norm: batch_norm,
    torch.batch_norm: _torch_batch_norm,
    torch.native_batch_norm: _native_batch_norm,
    functional.instance_norm: _instance_norm,
    torch.instance_norm: _torch_instance_norm,
    functional.layer_norm: _layer_norm,
    torch.layer_norm: _layer_norm,
    torch.native_layer_norm: _native_layer_norm,
}
