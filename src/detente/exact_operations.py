"""Operations that compute what fused functions of torch do, by parts whose derivatives are right to any order."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional
from torch.nn.attention import SDPBackend, sdpa_kernel

from detente.recurrent_operations import RECURRENT

Operations = Mapping[Callable[..., Any], Callable[..., Any]]  # ours, by torch's function
Numbers = int | Sequence[int]


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
    """Return `functional.batch_norm`; in evaluation, and for input that it refuses, torch's own."""
    if not training or x.dim() < 2 or x.numel() <= x.shape[1]:
        return functional.batch_norm(x, running_mean, running_var, weight, bias, training, momentum, eps)
    y, mean, variance = _standardized(x, [0, *range(2, x.dim())], eps)
    count = x.numel() // x.shape[1]
    _update(momentum, (running_mean, mean.reshape(-1)), (running_var, variance.reshape(-1) * (count / (count - 1))))
    return _scaled(y, weight, bias)


def _standardized(x: Tensor, over: Sequence[int], eps: float) -> tuple[Tensor, Tensor, Tensor]:
    """Return (x − mean)/√(variance + eps), the mean and the biased variance over some axes, which are kept."""
    mean = x.mean(over, keepdim=True)
    centred = x - mean
    variance = centred.square().mean(over, keepdim=True)
    return centred * (variance + eps).rsqrt(), mean, variance


def _scaled(y: Tensor, weight: Tensor | None, bias: Tensor | None) -> Tensor:
    """Return y · weight + bias with one number a channel, the second axis."""
    shape = (1, -1, *[1] * (y.dim() - 2))
    y = y if weight is None else y * weight.view(shape)
    return y if bias is None else y + bias.view(shape)


@torch.no_grad()
def _update(momentum: float, *statistics: tuple[Tensor | None, Tensor]) -> None:
    """Move running statistics towards those of a batch."""
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
    """Return `torch.native_batch_norm`: beside the output, mean and 1/√(variance + eps), empty in evaluation."""
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
    _update(momentum, (running_mean, mean), (running_var, variance))
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
    if input.shape[2:].numel() <= 1:  # which torch's function in `functional` refuses, and this one does not
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
    """Return `torch.native_layer_norm`: beside the output, mean and 1/√(variance + eps)."""
    shape = tuple(normalized_shape)
    wrong = any(t is not None and tuple(t.shape) != shape for t in (weight, bias))
    if not shape or tuple(input.shape[-len(shape) :]) != shape or wrong:  # torch's error
        return torch.native_layer_norm(input, normalized_shape, weight, bias, eps)
    # torch computes in float32 where numbers are shorter.
    x = input.float() if input.dtype in (torch.float16, torch.bfloat16) else input
    y, mean, variance = _standardized(x, list(range(-len(shape), 0)), eps)
    y = y if weight is None else y * weight
    y = y if bias is None else y + bias
    return y.to(input.dtype), mean, (variance + eps).rsqrt()


def _weight_norm(v: Tensor, g: Tensor, dim: int = 0) -> Tensor:
    """Return g v/‖v‖, with one norm for each index of an axis, or one of all for the axis −1."""
    if dim == -1:
        return v * (g / v.norm())
    axes = [axis for axis in range(v.dim()) if axis != dim % v.dim()]
    return v * (g / v.square().sum(axes, keepdim=True).sqrt())


def _embedding_bag(
    input: Tensor,
    weight: Tensor,
    offsets: Tensor | None = None,
    max_norm: float | None = None,
    norm_type: float = 2,
    scale_grad_by_freq: bool = False,
    mode: str = "mean",
    sparse: bool = False,
    per_sample_weights: Tensor | None = None,
    include_last_offset: bool = False,
    padding_idx: int | None = None,
) -> Tensor:
    special = max_norm is not None or scale_grad_by_freq or sparse
    ragged = input.dim() == 1 and offsets is not None
    if special or (mode == "max" and ragged) or not (ragged or (input.dim() == 2 and offsets is None)):
        return functional.embedding_bag(
            input, weight, offsets, max_norm, norm_type, scale_grad_by_freq, mode, sparse, per_sample_weights,
            include_last_offset, padding_idx,
        )  # fmt: skip
    counted = torch.ones_like(input, dtype=torch.bool)
    if padding_idx is not None:
        counted = input != padding_idx % len(weight)
    rows = functional.embedding(input, weight)
    if mode == "max":
        rows = torch.where(counted[..., None], rows, -torch.inf).amax(1)
        return torch.where(counted.any(1, keepdim=True), rows, 0.0)
    scale = counted.to(rows.dtype) if per_sample_weights is None else counted * per_sample_weights
    rows = rows * scale[..., None]
    if ragged:
        assert offsets is not None
        begins = offsets[:-1] if include_last_offset else offsets
        bags = torch.searchsorted(begins, torch.arange(len(input), device=input.device), right=True) - 1
        total = rows.new_zeros(len(begins), rows.shape[-1]).index_add(0, bags, rows)
        counts = rows.new_zeros(len(begins)).index_add(0, bags, counted.to(rows.dtype))
    else:
        total, counts = rows.sum(1), counted.sum(1)
    return total / counts.clamp(min=1)[:, None] if mode == "mean" else total


def _hardsigmoid(input: Tensor, inplace: bool = False) -> Tensor:
    del inplace
    return functional.relu6(input + 3) / 6


def _cdist(x1: Tensor, x2: Tensor, p: float = 2.0, compute_mode: str = "") -> Tensor:
    del compute_mode
    return _norm(x1.unsqueeze(-2) - x2.unsqueeze(-3), p)


def _pdist(input: Tensor, p: float = 2.0) -> Tensor:
    first, second = torch.triu_indices(len(input), len(input), 1, device=input.device)
    return _norm(input[first] - input[second], p)


def _norm(difference: Tensor, p: float) -> Tensor:
    """Return ‖difference‖_p over the last axis; all derivatives are zero where it is zero, as torch's first one is."""
    same = (difference == 0).all(-1)
    return torch.linalg.vector_norm(difference.masked_fill(same.unsqueeze(-1), 1.0), p, dim=-1).masked_fill(same, 0.0)


def _logcumsumexp(input: Tensor, dim: int) -> Tensor:
    x = input.movedim(dim, -1)
    earlier = torch.ones(x.shape[-1], x.shape[-1], dtype=torch.bool, device=x.device).tril()
    return torch.where(earlier, x.unsqueeze(-2), -torch.inf).logsumexp(-1).movedim(-1, dim)


def _with_math(attention: Callable[..., Any]) -> Callable[..., Any]:
    """Return an attention that is computed by matrix products and a softmax."""

    def computed(*args: Any, **kwargs: Any) -> Any:
        with sdpa_kernel(SDPBackend.MATH):
            return attention(*args, **kwargs)

    return computed


def _transposed(convolution: Callable[..., Tensor], axes: int) -> Callable[..., Tensor]:
    """Return a transposed convolution without `output_padding`, whose third derivative torch refuses."""

    def computed(
        input: Tensor,
        weight: Tensor,
        bias: Tensor | None = None,
        stride: Numbers = 1,
        padding: Numbers = 0,
        output_padding: Numbers = 0,
        groups: int = 1,
        dilation: Numbers = 1,
    ) -> Tensor:
        pad, beyond = ([n] * axes if isinstance(n, int) else (list(n) * axes)[:axes] for n in (padding, output_padding))
        if not any(beyond):
            return convolution(input, weight, bias, stride, padding, output_padding, groups, dilation)
        # Cut from the whole convolution, which has zeros beyond its end.
        whole = convolution(input, weight, None, stride, 0, 0, groups, dilation)
        cut = [number for p, o in reversed(list(zip(pad, beyond, strict=True))) for number in (-p, o - p)]
        y = functional.pad(whole, cut)
        return y if bias is None else y + bias.view(-1, *[1] * axes)

    return computed


SECOND: Operations = {
    torch._weight_norm: _weight_norm,
    functional.embedding_bag: _embedding_bag,
    functional.hardsigmoid: _hardsigmoid,
    torch.cdist: _cdist,
    functional.pdist: _pdist,
    torch.pdist: _pdist,
    torch.logcumsumexp: _logcumsumexp,
    torch.Tensor.logcumsumexp: _logcumsumexp,
    functional.scaled_dot_product_attention: _with_math(functional.scaled_dot_product_attention),
    functional.multi_head_attention_forward: _with_math(functional.multi_head_attention_forward),
    functional.conv_transpose1d: _transposed(functional.conv_transpose1d, 1),
    functional.conv_transpose2d: _transposed(functional.conv_transpose2d, 2),
    functional.conv_transpose3d: _transposed(functional.conv_transpose3d, 3),
    **RECURRENT,
}
THIRD: Operations = {
    functional.batch_norm: batch_norm,
    torch.batch_norm: _torch_batch_norm,
    torch.native_batch_norm: _native_batch_norm,
    functional.instance_norm: _instance_norm,
    torch.instance_norm: _torch_instance_norm,
    functional.layer_norm: _layer_norm,
    torch.layer_norm: _layer_norm,
    torch.native_layer_norm: _native_layer_norm,
}
