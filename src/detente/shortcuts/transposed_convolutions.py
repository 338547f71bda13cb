"""Transposed convolutions as matrix products where torch is slow; results equal torch's up to rounding.

Generators begin and end with transposed convolutions of few pixels or to few channels. For these, a matrix product and
a sum of patches, with matrix products as derivatives, are faster on CPUs than general algorithms.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn
from torch.fx.experimental.proxy_tensor import get_proxy_mode
from torch.nn import functional
from torch.overrides import TorchFunctionMode

Pair = int | Sequence[int]
Answers = Mapping[Callable[..., Any], Callable[..., Any]]  # replacements by torch function
_NONE, _ONE = (0, (0,), (0, 0)), (1, (1,), (1, 1))


def products(module: nn.Module, *tensors: Tensor) -> AbstractContextManager:
    """Return a context in which `module` uses matrix products where they are faster, unless a tensor is on a GPU."""
    if any(tensor.device.type != "cpu" for tensor in tensors):
        return nullcontext()
    if module not in _TRANSPOSED:
        _TRANSPOSED[module] = any(isinstance(part, nn.ConvTranspose2d) for part in module.modules())
    return answered(_PRODUCTS) if _TRANSPOSED[module] else nullcontext()


def answered(answers: Answers) -> AbstractContextManager:
    """Return a context that replaces some functions of torch.

    In this context, each call of a torch function costs a few microseconds more. While a graph is traced, nothing is
    replaced, since the compiler merges torch's own passes.
    """
    return nullcontext() if get_proxy_mode() is not None else _Replacing(answers)


class _Replacing(TorchFunctionMode):
    """Replaces some functions of torch; calls of all others go to torch."""

    def __init__(self, replacements: Answers) -> None:
        super().__init__()
        self.replacements = replacements

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        return self.replacements.get(func, func)(*args, **(kwargs or {}))


def suits(x: Tensor, *others: Tensor | None) -> bool:
    """Whether these are plain tensors: of one floating-point dtype, on the CPU, not inside torch.func."""
    tensors = [x, *[tensor for tensor in others if tensor is not None]]
    return (
        torch.is_grad_enabled()
        # With saved-tensor hooks (checkpointing), torch must save the same tensors when it recomputes the forward pass.
        and torch._C._autograd._top_saved_tensors_default_hooks(False) is None  # pyright: ignore
        and x.is_floating_point()
        and all(t.dtype == x.dtype and t.device.type == "cpu" for t in tensors)
        and not any(torch._C._functorch.is_functorch_wrapped_tensor(t) for t in tensors)  # pyright: ignore
    )


def _conv_transpose2d(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: Pair = 1,
    padding: Pair = 0,
    output_padding: Pair = 0,
    groups: int = 1,
    dilation: Pair = 1,
) -> Tensor:
    """Return the transposed convolution: a matrix product and, for more than one pixel, a sum of patches."""
    arguments = x, weight, bias
    if torch.is_autocast_enabled("cpu"):
        x, weight, bias = _cast(x), _cast(weight), bias if bias is None else _cast(bias)
    pixels, out_channels = x.shape[2:].numel(), weight.shape[1]
    plain = x.dim() == 4 and groups == 1 and output_padding in _NONE and dilation in _ONE and suits(x, weight, bias)
    if plain and pixels == 1 and padding in _NONE:
        product = (x.flatten(1) @ weight.flatten(1)).unflatten(1, weight.shape[1:])
    elif plain and (out_channels <= 3 or (pixels <= 16 and weight.shape[0] * out_channels >= 2**17)):
        step, pad, kernel = _pair(stride), _pair(padding), weight.shape[2:]
        height, width = ((n - 1) * step[i] - 2 * pad[i] + kernel[i] for i, n in enumerate(x.shape[2:]))
        if out_channels <= 3:  # a small weight times each image: no tensor is transposed
            patches = torch.bmm(weight.flatten(1).T.expand(len(x), -1, -1), x.flatten(2))
        else:  # a large weight times all images at once
            rows = x.flatten(2).mT.flatten(0, 1) @ weight.flatten(1)
            patches = rows.unflatten(0, (len(x), -1)).mT
        product = functional.fold(patches, (height, width), kernel, 1, pad, step)
    else:
        return functional.conv_transpose2d(*arguments, stride, padding, output_padding, groups, dilation)  # pyright: ignore
    return product if bias is None else product + bias[:, None, None]


def _cast(tensor: Tensor) -> Tensor:
    """Return a tensor as autocast passes it to a convolution: only float32 is converted."""
    return tensor.to(torch.get_autocast_dtype("cpu")) if tensor.dtype == torch.float32 else tensor


def _pair(number: Pair) -> tuple[int, ...]:
    """Return two numbers; a single number stands for both."""
    return (number, number) if isinstance(number, int) else (*number, *number)[:2]


_PRODUCTS: Answers = {functional.conv_transpose2d: _conv_transpose2d}
_TRANSPOSED: WeakKeyDictionary[nn.Module, bool] = WeakKeyDictionary()
