"""BatchNorm over the rows of all ranks, as one process would compute it for the whole batch.

Each layer sends one short message per pass: mean and variance forwards; 2 numbers per channel in the first derivative,
and 5 in the second. Both derivatives are in closed form. Higher ones, and those of mapped tensors or other dtypes, are
those of simple operations.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional
from torch.overrides import TorchFunctionMode

from detente.autodiff.exact_normalization import update_running_statistics
from detente.autodiff.tracing import is_eager
from detente.ranks import Ranks, gathered, ranks, whole_statistics


class WholeBatchNorm(TorchFunctionMode):
    """Context in which BatchNorm in training mode normalises the whole batch, also while a graph is traced."""

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        return _REPLACED.get(func, func)(*args, **(kwargs or {}))


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
    current = ranks()
    if not training or current is None or x.dim() < 2:
        return functional.batch_norm(x, running_mean, running_var, weight, bias, training, momentum, eps)
    tensors = [tensor for tensor in (x, weight, bias) if tensor is not None]
    mapped = any(torch._C._functorch.is_functorch_wrapped_tensor(tensor) for tensor in tensors)  # pyright: ignore
    mixed = x.dtype not in (torch.float32, torch.float64) or any(tensor.dtype != x.dtype for tensor in tensors)
    if mapped or mixed:
        y, mean, variance = _composed(x, weight, bias, eps, current)
    else:
        weight = x.new_ones(x.shape[1]) if weight is None else weight
        bias = x.new_zeros(x.shape[1]) if bias is None else bias
        y, mean, variance = _ClosedForm.apply(x.contiguous(), weight, bias, eps, current)  # pyright: ignore
    count = _count(x, current)
    unbiased = variance * (count / (count - 1))
    update_running_statistics(momentum, (running_mean, mean), (running_var, unbiased))
    return y


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
    return _batch_norm(input, running_mean, running_var, weight, bias, training, momentum, eps)


_REPLACED: Mapping[Callable[..., Any], Callable[..., Any]] = {
    functional.batch_norm: _batch_norm,
    torch.batch_norm: _torch_batch_norm,
}


def _count(x: Tensor, ranks: Ranks) -> int:
    """Return the number of elements of a channel in the whole batch."""
    return x.numel() // x.shape[1] * ranks.count


def _axes(x: Tensor) -> list[int]:
    return [0, *range(2, x.dim())]


def _channels(numbers: Tensor, like: Tensor) -> Tensor:
    """Return one number per channel, (channels,), in a shape that broadcasts with `like`."""
    return numbers.reshape(-1, *[1] * (like.dim() - 2))


def _statistics(x: Tensor) -> tuple[Tensor, Tensor]:
    """Return mean and variance of each channel over this rank's rows, (channels,)."""
    if is_eager(x) and x.device.type == "cpu":  # BatchNorm's own kernel is four times as fast
        return torch.batch_norm_update_stats(x, None, None, 0.0)
    variance, mean = torch.var_mean(x, _axes(x), correction=0)
    return mean, variance


def _composed(
    x: Tensor, weight: Tensor | None, bias: Tensor | None, eps: float, ranks: Ranks
) -> tuple[Tensor, Tensor, Tensor]:
    """Return the normalised batch, and its mean and variance, by operations that are differentiable to any order."""
    precise = x.float() if x.dtype in (torch.float16, torch.bfloat16) else x
    mean = precise.mean(_axes(x))
    variance = (precise - _channels(mean, x)).square().mean(_axes(x))
    mean, variance = whole_statistics(gathered(torch.stack([mean, variance]), ranks))
    y = (precise - _channels(mean, x)) * _channels((variance + eps).rsqrt(), x)
    y = y if weight is None else y * _channels(weight, x)
    y = y if bias is None else y + _channels(bias, x)
    return y.to(x.dtype), mean, variance


class _ClosedForm(torch.autograd.Function):
    """BatchNorm of the whole batch, with its mean and variance."""

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, weight: Tensor, bias: Tensor, eps: float, ranks: Ranks
    ) -> tuple[Tensor, Tensor, Tensor]:
        mean, variance = _statistics(x)
        mean, variance = whole_statistics(gathered(torch.stack([mean, variance]), ranks))
        y = torch.batch_norm(x, weight, bias, mean, variance, False, 0.0, eps, False)
        ctx.save_for_backward(x, weight, mean, (variance + eps).rsqrt())
        ctx.mark_non_differentiable(mean, variance)
        ctx.eps, ctx.ranks = eps, ranks
        return y, mean, variance

    @staticmethod
    def backward(ctx: Any, *cotangents: Tensor) -> tuple[Tensor | None, ...]:
        x, weight, mean, scale = ctx.saved_tensors
        inputs = cotangents[0].contiguous(), x, weight, mean, scale
        return *_FirstDerivative.apply(*inputs, ctx.eps, ctx.ranks), None, None  # pyright: ignore


class _FirstDerivative(torch.autograd.Function):
    """First derivatives of BatchNorm: by x, of all ranks' losses; by weight and bias, this rank's summand.

    x' = k(g − ⟨g⟩ − x̂⟨gx̂⟩), where x̂ = s(x − μ), k = ws, s = 1/√(variance + eps), and means ⟨·⟩ are over all ranks.
    """

    @staticmethod
    def forward(
        ctx: Any, g: Tensor, x: Tensor, weight: Tensor, mean: Tensor, scale: Tensor, eps: float, ranks: Ranks
    ) -> tuple[Tensor, ...]:
        own_gx, own_g = _sums(g, x, mean, scale)
        count = _count(x, ranks)
        mean_gx, mean_g = gathered(torch.stack([own_gx, own_g]), ranks).sum(0) / count
        k = scale * weight
        by_x = _combined(x, mean, -k * scale * mean_gx, -k * mean_g, (g, k))
        ctx.save_for_backward(g, x, weight, mean, scale, own_gx, own_g, mean_gx, mean_g)
        ctx.eps, ctx.ranks = eps, ranks
        return by_x, own_gx, own_g

    @staticmethod
    def backward(ctx: Any, *cotangents: Tensor) -> tuple[Tensor | None, ...]:
        """Return derivatives by g, x and weight of Σ over ranks of ⟨u, x'⟩ + ⟨p, Σ g x̂⟩ + ⟨q, Σ g⟩, for (u, p, q).

        With c = ⟨ug⟩ − ⟨u⟩⟨g⟩ − ⟨ux̂⟩⟨gx̂⟩, a = −ks⟨gx̂⟩ and b = s(p − k⟨ux̂⟩):
        by g: k(u − ⟨u⟩) + (p − k⟨ux̂⟩) x̂ + q;  by weight: this rank's summand of s n c;
        by x: a(u − ⟨u⟩) + b g + ks⟨ux̂⟩⟨g⟩ − s⟨pg⟩ − s(kc − 2k⟨ux̂⟩⟨gx̂⟩ + ⟨pgx̂⟩) x̂.
        p and q differ between ranks, so ⟨pg⟩ and ⟨pgx̂⟩ are means of products.
        """
        g, x, weight, mean, scale, own_gx, own_g, mean_gx, mean_g = ctx.saved_tensors
        if torch.is_grad_enabled():  # for third derivatives
            return *_composed_derivatives(cotangents, g, x, weight, ctx.eps, ctx.ranks), None, None, None, None
        u, p, q = (cotangent.contiguous() for cotangent in cotangents)
        own_ux, own_u = _sums(u, x, mean, scale)
        own_ug, _ = _sums(g, u, torch.zeros_like(mean), torch.ones_like(scale))
        sums = gathered(torch.stack([own_ux, own_u, own_ug, p * own_gx, p * own_g]), ctx.ranks).sum(0)
        mean_ux, mean_u, mean_ug, mean_pgx, mean_pg = sums / _count(x, ctx.ranks)
        k = scale * weight
        a, b = -k * scale * mean_gx, scale * (p - k * mean_ux)
        c = mean_ug - mean_u * mean_g - mean_ux * mean_gx
        along = -scale * scale * (k * c - 2 * k * mean_ux * mean_gx + mean_pgx)
        shift = -a * mean_u + k * scale * mean_ux * mean_g - scale * mean_pg
        by_g = _combined(x, mean, b, q - k * mean_u, (u, k))
        by_x = _combined(x, mean, along, shift, (u, a), (g, b))
        by_weight = scale * (own_ug - own_u * mean_g - own_ux * mean_gx)
        return by_g, by_x, by_weight, None, None, None, None


def _sums(g: Tensor, x: Tensor, mean: Tensor, scale: Tensor) -> tuple[Tensor, Tensor]:
    """Return this rank's sums over g·x̂ and over g, (channels,), by torch's kernel."""
    _, along, plain = torch.ops.aten.native_batch_norm_backward(
        g, x, None, None, None, mean, scale, True, 0.0, [False, True, True]
    )
    return along, plain


def _combined(x: Tensor, mean: Tensor, slope: Tensor, shift: Tensor, *terms: tuple[Tensor, Tensor]) -> Tensor:
    """Return slope · (x − mean) + shift + Σ coefficient · tensor, channel by channel, in one pass per tensor."""
    total = torch.batch_norm(x, slope, shift, mean, torch.ones_like(mean), False, 0.0, 0.0, False)
    for tensor, coefficient in terms:
        total.addcmul_(tensor, _channels(coefficient, x))
    return total


def _composed_derivatives(
    cotangents: tuple[Tensor, ...], g: Tensor, x: Tensor, weight: Tensor, eps: float, ranks: Ranks
) -> tuple[Tensor | None, ...]:
    """Return the second derivatives on autograd's graph, exact to any order."""
    u, p, q = cotangents
    # Views make these partial derivatives, since g and the cotangents themselves depend on x.
    g, x, weight = g.view_as(g), x.view_as(x), weight.view_as(weight)
    normal, _, variance = _composed(x, None, None, eps, ranks)
    own = torch.stack([g.sum(_axes(x)), (g * normal).sum(_axes(x))])
    mean_g, mean_gx = gathered(own, ranks).sum(0) / _count(x, ranks)
    by_x = (g - _channels(mean_g, x) - normal * _channels(mean_gx, x)) * _channels(weight * (variance + eps).rsqrt(), x)
    total = (u * by_x).sum() + (p * own[1]).sum() + (q * own[0]).sum()
    inputs = {i: tensor for i, tensor in enumerate((g, x, weight)) if tensor.requires_grad}
    gradients = dict(zip(inputs, torch.autograd.grad(total, [*inputs.values()], create_graph=True), strict=True))
    return gradients.get(0), gradients.get(1), gradients.get(2)
