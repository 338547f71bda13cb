"""Upsampling followed by a convolution, instead of a transposed convolution that draws a checkerboard."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn
from torch.nn.functional import interpolate
from torch.nn.modules.conv import _ConvTransposeNd

from detente.errors import require


class ResizeConvolution(nn.Module):
    """Nearest-neighbour upsampling to the size that a transposed convolution gives, then a convolution of odd kernel.

    Args:
        layer: the transposed convolution whose sizes it takes; weights are new.

    Source: Odena, Dumoulin & Olah 2016, Deconvolution and Checkerboard Artifacts (doi:10.23915/distill.00003).
    """

    def __init__(self, layer: _ConvTransposeNd) -> None:
        super().__init__()
        kind: Any = {1: nn.Conv1d, 2: nn.Conv2d, 3: nn.Conv3d}[len(layer.kernel_size)]
        kernel = tuple(size if size % 2 else size + 1 for size in layer.kernel_size)
        padding = tuple(size // 2 for size in kernel)
        bias = layer.bias is not None
        self.convolution = kind(
            layer.in_channels, layer.out_channels, kernel, padding=padding, groups=layer.groups, bias=bias
        )
        self.convolution.to(layer.weight.dtype)
        sizes = zip(layer.stride, layer.padding, layer.dilation, layer.kernel_size, layer.output_padding, strict=True)
        self.strides = tuple(layer.stride)
        self.added = tuple(
            dilation * (kernel - 1) + more + 1 - 2 * int(padding) - stride
            for stride, padding, dilation, kernel, more in sizes
        )

    def forward(self, x: Tensor) -> Tensor:
        """Return the convolved map, in the size of the transposed convolution's."""
        size = [
            length * stride + more for length, stride, more in zip(x.shape[2:], self.strides, self.added, strict=True)
        ]
        return self.convolution(interpolate(x, size=size, mode="nearest"))


def uneven_layers(module: nn.Module) -> list[str]:
    """Return the names of transposed convolutions whose kernel is not divisible by their stride."""
    return [name for name, layer in module.named_modules() if _is_uneven(layer)]


def with_resize_convolutions(module: nn.Module) -> nn.Module:
    """Replace, in place, transposed convolutions whose kernel is not divisible by their stride.

    Raises:
        InvalidValue: the module has no such layer.
    """
    layers = uneven_layers(module)
    allowed = "a module with a transposed convolution whose kernel is not divisible by its stride"
    require(len(layers) > 0, "resize_convolution", type(module).__name__, allowed)
    for parent in [*module.modules()]:
        for name, child in [*parent.named_children()]:
            if _is_uneven(child):
                setattr(parent, name, ResizeConvolution(child))  # pyright: ignore[reportArgumentType]
    return module


def _is_uneven(layer: nn.Module) -> bool:
    if not isinstance(layer, _ConvTransposeNd):
        return False
    pairs = zip(layer.kernel_size, layer.stride, strict=True)
    return any(stride > 1 and kernel % stride for kernel, stride in pairs)
