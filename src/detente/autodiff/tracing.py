"""Whether tensors are ordinary: not mapped, not traced and not on autograd's graph."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.fx.experimental.proxy_tensor import get_proxy_mode

_is_mapped = torch._C._functorch.is_functorch_wrapped_tensor  # pyright: ignore[reportAttributeAccessIssue]


class recording:  # noqa: N801, a context like those of torch, which take three times as long
    """Context in which autograd's graph is recorded, or is not."""

    __slots__ = ("mode", "previous")

    def __init__(self, mode: bool) -> None:
        self.mode = mode

    def __enter__(self) -> None:
        self.previous = torch.is_grad_enabled()
        torch._C._set_grad_enabled(self.mode)

    def __exit__(self, *error: object) -> None:
        torch._C._set_grad_enabled(self.previous)


def is_eager(*tensors: Tensor) -> bool:
    """Whether these tensors are ordinary: not mapped, not being traced, not tracked by autograd."""
    traced = torch._C._len_torch_dispatch_stack() and get_proxy_mode() is not None  # the first is faster
    if traced or any(map(_is_mapped, tensors)):
        return False
    return not torch.is_grad_enabled() or not any([tensor.requires_grad for tensor in tensors])
