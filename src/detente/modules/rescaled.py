"""Changes of a module's inputs and outputs by hooks, so that its parameters keep their names."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from detente.errors import require

OFFSET, SCALE = "data_offset", "data_scale"  # buffers of a rescaled module


@dataclass(frozen=True)
class Units:
    """An affine map from standard units u to the data's, x = offset + scale u.

    Args:
        offset: offset, () or in the shape of a sample.
        scale: scale, > 0, in the same shape.
    """

    offset: Tensor
    scale: Tensor

    def __post_init__(self) -> None:
        require(bool((self.scale > 0).all()), "scale", self.scale, "positive numbers")

    def standard(self, x: Tensor) -> Tensor:
        """Return samples in standard units."""
        return (x - self.offset.to(x)) / self.scale.to(x)

    def natural(self, u: Tensor) -> Tensor:
        """Return samples in the data's units."""
        return self.offset.to(u) + self.scale.to(u) * u


class _Outputs:
    """The hook that maps a module's output to the data's units."""

    def __call__(self, module: nn.Module, inputs: Any, output: Any) -> Any:
        allowed = "one tensor, so that it can be rescaled"
        require(isinstance(output, Tensor), "generator", f"output of type {type(output).__name__}", allowed)
        offset, scale = (getattr(module, name).to(output.dtype) for name in (OFFSET, SCALE))
        return offset + scale * output


class _Inputs:
    """The hook that maps a module's first input to standard units."""

    def __call__(self, module: nn.Module, inputs: tuple[Any, ...]) -> tuple[Any, ...]:
        x, *others = inputs
        offset, scale = (getattr(module, name).to(x.dtype) for name in (OFFSET, SCALE))
        return ((x - offset) / scale, *others)


@dataclass(frozen=True)
class _Filtered:
    """The hook that changes a module's first input at random, in training mode."""

    change: Callable[[Tensor, torch.Generator], Tensor]

    def __call__(self, module: nn.Module, inputs: tuple[Any, ...]) -> tuple[Any, ...] | None:
        if not module.training:
            return None
        seed = int(torch.randint(2**62, ()))  # torch's global generator, which a game seeds for each batch
        return (self.change(inputs[0], torch.Generator(inputs[0].device).manual_seed(seed)), *inputs[1:])


@dataclass(frozen=True)
class _Divided:
    """The hook that divides a module's first input by a number."""

    scale: float

    def __call__(self, module: nn.Module, inputs: tuple[Any, ...]) -> tuple[Any, ...]:
        del module
        return (inputs[0] / self.scale, *inputs[1:])


def _trains(module: nn.Module, inputs: Any) -> None:
    """The hook that puts a module into training mode before each call."""
    del inputs
    for part in module.modules():
        if not part.training:
            part.training = True


def stay_in_training(module: nn.Module) -> nn.Module:
    """Make a module do in evaluation mode what it does in training, in place; return it."""
    module.register_forward_pre_hook(_trains)
    return module


def rescale_outputs(module: nn.Module, units: Units) -> nn.Module:
    """Make a module return samples in the data's units, x = offset + scale G(z), in place; return it."""
    _register(module, units)
    module.register_forward_hook(_Outputs())
    return module


def rescale_inputs(module: nn.Module, units: Units) -> nn.Module:
    """Make a module work in standard units, D((x − offset)/scale), in place; return it."""
    _register(module, units)
    module.register_forward_pre_hook(_Inputs())
    return module


def divide_inputs(module: nn.Module, scale: float) -> nn.Module:
    """Divide a module's first input by a number, in place; return the module."""
    module.register_forward_pre_hook(_Divided(scale))
    return module


def filter_inputs(module: nn.Module, change: Callable[[Tensor, torch.Generator], Tensor]) -> nn.Module:
    """Change a module's first input at random, in training mode only, in place; return the module.

    Args:
        module: the module.
        change: returns the changed input, for random numbers from a generator.
    """
    module.register_forward_pre_hook(_Filtered(change))
    return module


def units_of(module: nn.Module) -> Units | None:
    """Return the units of a module that was rescaled, or None."""
    for part in module.modules():
        if OFFSET in part._buffers and SCALE in part._buffers:
            return Units(*(getattr(part, name).clone() for name in (OFFSET, SCALE)))
    return None


def _register(module: nn.Module, units: Units) -> None:
    require(not hasattr(module, OFFSET), "rescale", type(module).__name__, "a module that is not rescaled yet")
    module.register_buffer(OFFSET, units.offset.clone())
    module.register_buffer(SCALE, units.scale.clone())
