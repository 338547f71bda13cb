"""How an ordinary module enters a game: copied, called with its parameters in a vector, and written back."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Literal

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn.modules.batchnorm import _NormBase
from torch.nn.modules.module import register_module_forward_pre_hook
from torch.nn.utils.spectral_norm import SpectralNorm

from detente.derivatives import output_gradient
from detente.errors import require
from detente.game import Batch, Buffers, Game, Vectors
from detente.lending import called_with
from detente.sharing import computing_anew, shared
from detente.transposed_convolutions import products
from detente.vector import Layout

Build = Callable[[], nn.Module] | nn.Module
Precision = Literal["float32", "bfloat16"]

_PRECISION: ContextVar[Precision] = ContextVar("precision", default="float32")
_CHANNELS_LAST: ContextVar[bool] = ContextVar("channels_last", default=False)


def call(
    module: nn.Module, layout: Layout, vector: Tensor, buffers: dict[str, Tensor], *inputs: Tensor
) -> tuple[Tensor, dict[str, Tensor]]:
    """Return `module(*inputs)` with its parameters taken from `vector`, and the buffers as the call left them.

    Args:
        module: any `nn.Module`; its parameters and buffers are not changed.
        layout: names and shapes of its trainable parameters.
        vector: their values, (layout.size,).
        buffers: its buffers by name; they are not changed.
        inputs: the module's inputs.
    """
    in_common = shared()
    if in_common is None:
        return _called(module, layout, vector, buffers, *inputs)
    given = (module, *buffers.values(), *inputs)
    return in_common.once(vector, given, lambda: _called(module, layout, vector, buffers, *inputs))


def _called(
    module: nn.Module, layout: Layout, vector: Tensor, buffers: dict[str, Tensor], *inputs: Tensor
) -> tuple[Tensor, dict[str, Tensor]]:
    """Return what `call` does, computed anew."""
    # One merged dictionary: with two, buffers that the module reassigns would be lost. BatchNorm writes in place.
    merged = {**layout.unflatten(vector), **{name: buffer.clone() for name, buffer in buffers.items()}}
    merged |= _elsewhere(module, layout, vector.device)
    if _CHANNELS_LAST.get():
        merged = {name: _channels_last(tensor) for name, tensor in merged.items()}
        inputs = tuple(map(_channels_last, inputs))
    if _PRECISION.get() == "float32":
        with products(module, vector):
            output = called_with(module, merged, inputs)
        return output, {name: merged[name] for name in buffers}
    shorter = torch.autocast(vector.device.type, getattr(torch, _PRECISION.get()), cache_enabled=False)
    with shorter, products(module, vector):
        output = called_with(module, merged, inputs)
    # What leaves the module, and what it remembers, is as precise as what came in.
    output = output.to(vector.dtype) if isinstance(output, Tensor) else output
    return output, {name: merged[name].to(buffer.dtype) for name, buffer in buffers.items()}


@contextmanager
def computing_in(precision: Precision, channels_last: bool = False) -> Iterator[None]:
    """Modules called within do their matrix products and convolutions in a precision, under `torch.autocast`.

    Parameters, buffers, outputs and so all losses and optimizers stay as they are; numbers in float64 too. With
    `channels_last`, images and the weights of their convolutions lie in memory pixel by pixel.
    """
    before = _PRECISION.set(precision), _CHANNELS_LAST.set(channels_last)
    try:
        yield
    finally:
        _PRECISION.reset(before[0])
        _CHANNELS_LAST.reset(before[1])


def _channels_last(tensor: Tensor) -> Tensor:
    """Return images, or the weights of convolutions on them, pixel by pixel in memory; other tensors as they are."""
    # A mapped tensor's axes are others than it shows.
    mapped = torch._C._functorch.is_batchedtensor(tensor)  # pyright: ignore[reportAttributeAccessIssue]
    return tensor if tensor.dim() != 4 or mapped else tensor.contiguous(memory_format=torch.channels_last)


def _elsewhere(module: nn.Module, layout: Layout, device: torch.device) -> dict[str, Tensor]:
    """Return the frozen parameters that are not on a device, moved there; training never sees to them."""
    if next(module.parameters()).device == device:
        return {}
    return {name: one.to(device) for name, one in module.named_parameters() if name not in layout.names}


class _Differentiated(nn.Module):
    """A module, and the gradient of its output's sum, taken while its parameters are still lent to it."""

    def __init__(self, module: nn.Module, at: Tensor) -> None:
        super().__init__()
        self.module, self.at = module, (at,)

    def forward(self, *inputs: Tensor) -> Tensor:
        return output_gradient(self.module(*inputs), *self.at)


def recomputes(module: nn.Module, layout: Layout, vector: Tensor, buffers: dict[str, Tensor], *inputs: Tensor) -> bool:
    """Return whether a module runs its layers again in the backward pass, as gradient checkpointing does.

    `call` lends parameters to a module for its forward pass alone, so that layers which run again do so with others.
    """
    with torch.enable_grad():
        at = (1.1 * vector + 0.01).requires_grad_()  # not where the module itself stands
        merged = {**layout.unflatten(at), **{name: buffer.clone() for name, buffer in buffers.items()}}
        merged |= _elsewhere(module, layout, vector.device)
        lent = {f"module.{name}": tensor for name, tensor in merged.items()}
        try:
            with seeded(0, vector.device):
                within = functional_call(_Differentiated(module, at), lent, inputs)
            with seeded(0, vector.device):
                outside = output_gradient(call(module, layout, at, buffers, *inputs)[0], at)
        except RuntimeError as error:  # its older kind refuses gradients asked for by name
            return "checkpoint" in str(error)
    return bool((within - outside).abs().max() > 1e-3 * within.abs().max())


def trainable(module: nn.Module) -> dict[str, Tensor]:
    """Return the parameters that training moves; frozen ones stay what they are in the module."""
    return {name: parameter for name, parameter in module.named_parameters() if parameter.requires_grad}


@torch.no_grad()
def write(module: nn.Module, layout: Layout, vector: Tensor, buffers: dict[str, Tensor], owner: str = "module") -> None:
    """Write parameters (layout.size,) and buffers into a module of the same architecture.

    Raises:
        InvalidValue: the module has other parameters or buffers, or others of their shapes.
    """
    values = {**layout.unflatten(vector), **buffers}
    slots = {**trainable(module), **dict(module.named_buffers())}
    shapes, wanted = ({name: tuple(t.shape) for name, t in tensors.items()} for tensors in (slots, values))
    require(shapes == wanted, owner, shapes, f"a module with the tensors {wanted}")
    for name, slot in slots.items():
        slot.copy_(values[name])


@torch.no_grad()
def modules_of(
    game: Game, vectors: Vectors, buffers: Buffers, batch: Batch
) -> dict[str, nn.Module | tuple[nn.Module, ...] | Tensor]:
    """Return each player's modules with its parameters written in, found by watching which are called with them.

    Args:
        game: any game whose losses call modules with views of the players' vectors, as `call` does.
        vectors: each player's parameters, (n_i,).
        buffers: the modules' buffers.
        batch: one batch, for an evaluation of the losses.

    Returns:
        By player a module in evaluation mode, several where it has several, or its vector where it has none.
    """
    vectors = {name: vector.detach().clone() for name, vector in vectors.items()}  # each in a storage of its own
    owners = {vector.untyped_storage().data_ptr(): name for name, vector in vectors.items()}
    calls: dict[str, dict[nn.Module, dict[str, tuple[int, torch.Size]]]] = {name: {} for name in vectors}

    def watch(module: nn.Module, inputs: tuple) -> None:
        del inputs
        lent = {name: p for name, p in module.named_parameters() if p.untyped_storage().data_ptr() in owners}
        players = {owners[p.untyped_storage().data_ptr()] for p in lent.values()}
        inside = [part for found in calls.values() for whole in found for part in whole.modules()]
        if len(players) == 1 and module not in inside:
            places = {name: (p.storage_offset(), p.shape) for name, p in lent.items()}
            calls[players.pop()].setdefault(module, places)

    handle = register_module_forward_pre_hook(watch)
    try:
        game.losses(vectors, buffers, batch)
    finally:
        handle.remove()
    trained: dict[str, nn.Module | tuple[nn.Module, ...] | Tensor] = {}
    for player, found in calls.items():
        modules = []
        for module, places in found.items():
            copy_of_module = copied(module).eval()
            slots = {**dict(copy_of_module.named_parameters()), **dict(copy_of_module.named_buffers())}
            for name, (start, shape) in places.items():
                slots[name].copy_(vectors[player][start : start + shape.numel()].view(shape))
            for name, buffer in buffers.get(player, {}).items():
                if name in slots and slots[name].shape == buffer.shape:
                    slots[name].copy_(buffer)
            modules.append(copy_of_module)
        trained[player] = vectors[player] if not modules else modules[0] if len(modules) == 1 else tuple(modules)
    return trained


@torch.no_grad()
def copied(module: nn.Module) -> nn.Module:
    """Return a copy of a module, in the same modes; it may have been called before."""
    # Layers with hooks (torch.nn.utils.spectral_norm) leave a computed weight behind, which deepcopy would refuse.
    computed = {
        id(value): value.clone()
        for part in module.modules()
        for value in vars(part).values()
        if isinstance(value, Tensor) and not value.is_leaf
    }
    return copy.deepcopy(module, computed)


def build(name: str, builder: Build, generator: torch.Generator) -> nn.Module:
    """Return a module of our own: a copy of the user's, or a new one initialised from `generator`.

    Raises:
        InvalidValue: `builder`, called `name` in the message, is no module and makes none.
    """
    allowed = "an nn.Module, or a class or function that makes one"
    if isinstance(builder, nn.Module):
        return copied(builder)
    require(callable(builder), name, builder, allowed)
    seed = int(torch.randint(2**62, (), generator=generator, device=generator.device))
    gpus = range(torch.cuda.device_count()) if torch.cuda.is_initialized() else ()  # where a factory may put a module
    with computing_anew(), torch.random.fork_rng(gpus):
        torch.manual_seed(seed)
        module = builder()
    require(isinstance(module, nn.Module), name, builder, allowed)
    return module


@contextmanager
def evaluating(module: nn.Module) -> Iterator[nn.Module]:
    """The module in evaluation mode; afterwards every part is back in the mode that it was in."""
    modes = [(part, part.training) for part in module.modules()]
    module.eval()
    try:
        yield module
    finally:
        for part, mode in modes:
            part.training = mode


@contextmanager
def seeded(seed: int, device: torch.device) -> Iterator[None]:
    """The global random state of the CPU and of `device` set from a seed, and restored afterwards."""
    with computing_anew(), torch.random.fork_rng([device] if device.type == "cuda" else []):
        torch.default_generator.manual_seed(seed)  # torch.manual_seed would seed every other device too
        if device.type == "cuda":
            torch.cuda.default_generators[device.index].manual_seed(seed)
        yield


def random_state(device: torch.device) -> Tensor:
    """Return the global random state of a device."""
    return torch.cuda.get_rng_state(device) if device.type == "cuda" else torch.get_rng_state()


def traceable(module: nn.Module) -> bool:
    """Whether tracing can follow all of a module, as far as torch's own layers are concerned."""
    return not any(_writes_or_reads_outside(part) for part in module.modules())


def _writes_or_reads_outside(part: nn.Module) -> bool:
    """Whether a layer writes where tracing cannot follow (spectral norms) or reads a tensor as a Python number."""
    hooked = any(isinstance(hook, SpectralNorm) for hook in part._forward_pre_hooks.values())
    counts = isinstance(part, _NormBase) and part.track_running_stats and part.momentum is None
    return hooked or counts or type(part).__name__ == "_SpectralNorm"
