"""The second derivative of BatchNorm in closed form, equal to torch's up to rounding.

Torch needs dozens of passes over memory. In closed form, each result is, channel by channel, a linear combination of
known tensors, and the coefficients follow from three sums.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch import Tensor
from torch.fx.experimental.proxy_tensor import get_proxy_mode
from torch.nn import functional
from torch.nn.modules.batchnorm import _BatchNorm as _AnyBatchNorm
from torch.overrides import TorchFunctionMode


def batch_norm_in_closed_form(modules: object) -> AbstractContextManager:
    """Return a context in which differentiating BatchNorm twice is fast, if one of `modules`, a mapping, has it.

    Nothing changes where a graph is traced: the compiler merges torch's own passes.
    """
    players = modules.values() if isinstance(modules, Mapping) else ()
    norms = any(isinstance(part, _AnyBatchNorm) for player in players for part in player.modules())
    plain = torch.is_autocast_enabled("cpu") or get_proxy_mode() is not None
    return _ClosedForm() if norms and not plain else nullcontext()


class _ClosedForm(TorchFunctionMode):
    """Calls of `torch.nn.functional.batch_norm` go to our function; all others go to torch."""

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        return (_batch_norm if func is functional.batch_norm else func)(*args, **(kwargs or {}))


def _is_plain(x: Tensor, *others: Tensor | None) -> bool:
    """Whether these are plain tensors: of one float type, on a processor, not within torch.func."""
    tensors = [x, *[tensor for tensor in others if tensor is not None]]
    return (
        torch.is_grad_enabled()
        # If saved tensors are kept (checkpointing), torch must find the same tensors when it recomputes.
        and torch._C._autograd._top_saved_tensors_default_hooks(False) is None  # pyright: ignore
        and x.is_floating_point()
        and all(t.dtype == x.dtype and t.device.type == "cpu" for t in tensors)
        and not any(torch._C._functorch.is_functorch_wrapped_tensor(t) for t in tensors)  # pyright: ignore
    )


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
    arguments = (running_mean, running_var, weight, bias)
    plain = x.dtype in (torch.float32, torch.float64) and x.is_contiguous() and _is_plain(x, *arguments)
    if training and plain and x.dim() > 1 and x.numel() > x.shape[1]:  # else torch raises its error
        return _BatchNorm.apply(x, *arguments, momentum, eps)  # pyright: ignore[reportReturnType]
    return functional.batch_norm(x, *arguments, training, momentum, eps)


class _BatchNorm(torch.autograd.Function):
    """BatchNorm in training mode, by torch's own kernel, with running statistics."""

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, running_mean: Any, running_var: Any, weight: Any, bias: Any, momentum: float, eps: float
    ) -> Tensor:
        y, mean, scale = torch.native_batch_norm(x, weight, bias, running_mean, running_var, True, momentum, eps)
        ctx.save_for_backward(x, weight, mean, scale)
        ctx.eps = eps
        return y

    @staticmethod
    def backward(ctx: Any, *cotangents: Tensor) -> tuple[Tensor | None, ...]:
        x, weight, mean, scale = ctx.saved_tensors
        by_x, by_weight, by_bias = _Backward.apply(cotangents[0].contiguous(), x, weight, mean, scale, ctx.eps)  # pyright: ignore
        needs_gradient = ctx.needs_input_grad
        by_weight, by_bias = by_weight if needs_gradient[3] else None, by_bias if needs_gradient[4] else None
        return by_x, None, None, by_weight, by_bias, None, None


class _Backward(torch.autograd.Function):
    """First derivatives of BatchNorm by torch's kernel; their derivatives in closed form."""

    @staticmethod
    def forward(
        ctx: Any, g: Tensor, x: Tensor, weight: Tensor | None, mean: Tensor, scale: Tensor, eps: float
    ) -> tuple[Tensor, ...]:
        results = _torch_backward(g, x, weight, mean, scale, True)
        ctx.save_for_backward(g, x, weight, mean, scale, *results[1:])
        ctx.eps = eps
        return results

    @staticmethod
    def backward(ctx: Any, *cotangents: Tensor) -> tuple[Tensor | None, ...]:
        g, x, weight, *statistics = ctx.saved_tensors
        if torch.is_grad_enabled():  # for third derivatives
            return *_composed(cotangents, g, x, weight, ctx.eps), None, None, None
        return *_closed_form(cotangents, g, x, weight, *statistics), None, None, None


def _torch_backward(g: Tensor, x: Tensor, weight: Tensor | None, mean: Tensor, scale: Tensor, by_x: bool) -> tuple:
    """Return torch's derivatives of BatchNorm: with respect to x (if `by_x`), and the sums over g·x̂ and g."""
    return torch.ops.aten.native_batch_norm_backward(
        g, x, weight, None, None, mean, scale, True, 0.0, [by_x, True, True]
    )


def _closed_form(
    cotangents: Sequence[Tensor], g: Tensor, x: Tensor, weight: Tensor | None, *statistics: Tensor
) -> tuple[Tensor, Tensor, Tensor | None]:
    """Return derivatives by g, x and the weight of ⟨u, x'⟩ + ⟨p, Σ g x̂⟩ + ⟨q, Σ g⟩ for the cotangents u, p, q.

    With x̂ = s(x − μ), k = ws, means ⟨·⟩ over a channel, c = ⟨(u − ⟨u⟩) g⟩ − ⟨ux̂⟩⟨gx̂⟩, where x' = k(g − ⟨g⟩ − x̂⟨gx̂⟩):
    by g: k(u − ⟨u⟩) + (p − k⟨ux̂⟩) x̂ + q;  by w: s n c;
    by x: a(u − ⟨u⟩) + b(g − ⟨g⟩) − (ksc + a⟨ux̂⟩ + b⟨gx̂⟩) x̂ with a = −ks⟨gx̂⟩ and b = s(p − k⟨ux̂⟩).
    """
    u, p, q = (cotangent.contiguous() for cotangent in cotangents)
    mean, scale, sum_gx, sum_g = statistics
    n = x.numel() / x.shape[1]
    _, sum_ux, sum_u = _torch_backward(u, x, None, mean, scale, False)
    mean_u, mean_ux, mean_g, mean_gx = sum_u / n, sum_ux / n, sum_g / n, sum_gx / n
    _, sum_ug, _ = _torch_backward(g, u, None, mean_u, torch.ones_like(scale), False)
    c = sum_ug / n - mean_ux * mean_gx
    k = scale if weight is None else scale * weight
    a, b = -k * scale * mean_gx, scale * (p - k * mean_ux)
    along = -scale * (k * scale * c + a * mean_ux + b * mean_gx)
    by_g = _combined(x, mean, b, q - k * mean_u, (u, k))
    by_x = _combined(x, mean, along, -a * mean_u - b * mean_g, (u, a), (g, b))
    return by_g, by_x, None if weight is None else scale * n * c


def _combined(x: Tensor, mean: Tensor, slope: Tensor, shift: Tensor, *terms: tuple[Tensor, Tensor]) -> Tensor:
    """Return slope · (x − mean) + shift + Σ coefficient · tensor, channel by channel, in one pass per tensor."""
    total = torch.batch_norm(x, slope, shift, mean, torch.ones_like(mean), False, 0.0, 0.0, False)
    for tensor, coefficient in terms:
        total.addcmul_(tensor, _channels(coefficient, x))
    return total


def _channels(numbers: Tensor, like: Tensor) -> Tensor:
    """Return one number per channel, (channels,), in a shape that broadcasts with `like`."""
    return numbers.reshape(-1, *[1] * (like.dim() - 2))


def _composed(
    cotangents: Sequence[Tensor], g: Tensor, x: Tensor, weight: Tensor | None, eps: float
) -> tuple[Tensor | None, ...]:
    """Return the result of `_closed_form` on autograd's graph, exact to any order; torch's is exact to the second.

    When torch's second derivative is differentiated again, it treats mean and variance as constants.
    """
    u, p, q = cotangents
    # Views make these partial derivatives, since g and the cotangents themselves depend on x.
    g, x, weight = g.view_as(g), x.view_as(x), weight if weight is None else weight.view_as(weight)
    over = [0, *range(2, x.dim())]
    centred = x - x.mean(over, keepdim=True)
    scale = (centred.square().mean(over, keepdim=True) + eps).rsqrt()
    normal = centred * scale
    by_x = (g - g.mean(over, keepdim=True) - normal * (g * normal).mean(over, keepdim=True)) * scale
    by_x = by_x if weight is None else by_x * _channels(weight, x)
    total = (u * by_x).sum() + (p * (g * normal).sum(over)).sum() + (q * g.sum(over)).sum()
    inputs = {i: t for i, t in enumerate((g, x, weight)) if t is not None and t.requires_grad}
    gradients = dict(zip(inputs, torch.autograd.grad(total, [*inputs.values()], create_graph=True), strict=True))
    return gradients.get(0), gradients.get(1), gradients.get(2)
