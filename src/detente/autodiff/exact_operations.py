"""Replacements for fused functions of torch, composed of operations with correct derivatives of any order."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional
from torch.nn.attention import SDPBackend, sdpa_kernel

from detente.autodiff.recurrent_operations import RECURRENT

Operations = Mapping[Callable[..., Any], Callable[..., Any]]  # replacements by torch function
Numbers = int | Sequence[int]


def _weight_norm(v: Tensor, g: Tensor, dim: int = 0) -> Tensor:
    """Return g v/‖v‖, with one norm for each index of an axis, or a single norm for axis −1."""
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
    is_counted = torch.ones_like(input, dtype=torch.bool)
    if padding_idx is not None:
        is_counted = input != padding_idx % len(weight)
    rows = functional.embedding(input, weight)
    if mode == "max":
        rows = torch.where(is_counted[..., None], rows, -torch.inf).amax(1)
        return torch.where(is_counted.any(1, keepdim=True), rows, 0.0)
    scale = is_counted.to(rows.dtype) if per_sample_weights is None else is_counted * per_sample_weights
    rows = rows * scale[..., None]
    if ragged:
        assert offsets is not None
        begins = offsets[:-1] if include_last_offset else offsets
        bags = torch.searchsorted(begins, torch.arange(len(input), device=input.device), right=True) - 1
        total = rows.new_zeros(len(begins), rows.shape[-1]).index_add(0, bags, rows)
        counts = rows.new_zeros(len(begins)).index_add(0, bags, is_counted.to(rows.dtype))
    else:
        total, counts = rows.sum(1), is_counted.sum(1)
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
    """Return ‖difference‖_p over the last axis. Where it is zero, all derivatives are zero, like torch's first one."""
    is_zero = (difference == 0).all(-1)
    return torch.linalg.vector_norm(difference.masked_fill(is_zero.unsqueeze(-1), 1.0), p, dim=-1).masked_fill(
        is_zero, 0.0
    )


def _logcumsumexp(input: Tensor, dim: int) -> Tensor:
    x = input.movedim(dim, -1)
    earlier = torch.ones(x.shape[-1], x.shape[-1], dtype=torch.bool, device=x.device).tril()
    return torch.where(earlier, x.unsqueeze(-2), -torch.inf).logsumexp(-1).movedim(-1, dim)


def _with_math(attention: Callable[..., Any]) -> Callable[..., Any]:
    """Return an attention function that is computed by matrix products and a softmax."""

    def computed(*args: Any, **kwargs: Any) -> Any:
        with sdpa_kernel(SDPBackend.MATH):
            return attention(*args, **kwargs)

    return computed


def _transposed(convolution: Callable[..., Tensor], axes: int) -> Callable[..., Tensor]:
    """Return a transposed convolution that avoids `output_padding`, since torch lacks its third derivative."""

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
        pad, output_pad = (
            [n] * axes if isinstance(n, int) else (list(n) * axes)[:axes] for n in (padding, output_padding)
        )
        if not any(output_pad):
            return convolution(input, weight, bias, stride, padding, output_padding, groups, dilation)
        # Crop the convolution without padding; beyond its end, pad with zeros.
        unpadded = convolution(input, weight, None, stride, 0, 0, groups, dilation)
        cut = [number for p, o in reversed(list(zip(pad, output_pad, strict=True))) for number in (-p, o - p)]
        y = functional.pad(unpadded, cut)
        return y if bias is None else y + bias.view(-1, *[1] * axes)

    return computed


SECOND: Operations = {
    torch._weight_norm: _weight_norm,  # pyright: ignore[reportPrivateImportUsage]
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
