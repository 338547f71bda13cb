"""Use of ordinary modules in games: copy them, call them with parameters from a vector, write parameters back."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _NormBase
from torch.nn.modules.module import register_module_forward_pre_hook
from torch.nn.parameter import UninitializedBuffer, UninitializedParameter
from torch.nn.utils.spectral_norm import SpectralNorm
from torch.utils._pytree import tree_leaves, tree_map_only

from detente.errors import InvalidValue, failure, require
from detente.game import Batch, Buffers, EvaluationSettings, Game, Vectors
from detente.modules.functional_call import EMPTY, device_of, functional_call
from detente.modules.layout import Layout
from detente.modules.object_graph import deep_copy
from detente.modules.randomness import seeded
from detente.nested import map_tensors

Build = Callable[[], nn.Module] | nn.Module
DEFAULT_SETTINGS = EvaluationSettings()


def call(
    module: nn.Module,
    layout: Layout,
    vector: Tensor,
    buffers: dict[str, Tensor],
    *inputs: Any,
    settings: EvaluationSettings = DEFAULT_SETTINGS,
) -> tuple[Any, dict[str, Tensor]]:
    """Return `module(*inputs)`, computed with the parameters in `vector`, and the buffers after the call.

    Args:
        module: any `nn.Module`; its parameters and buffers are not changed.
        layout: names and shapes of its trainable parameters.
        vector: their values, (layout.size,).
        buffers: its buffers by name; they are not changed.
        inputs: the module's inputs.
        settings: precision, memory format and cache of forward passes; in a game's losses, `self.evaluation_settings`.
            Pass no `forward_cache` to a module that draws random numbers.
    """
    return call_part(module, "", layout, vector, layout.unflatten, buffers, inputs, settings=settings)


def call_part(
    module: nn.Module,
    part: str,
    layout: Layout,
    vector: Tensor,
    views: Callable[[Tensor], dict[str, Tensor]],
    buffers: dict[str, Tensor],
    inputs: tuple[Any, ...],
    keywords: Mapping[str, Any] = EMPTY,
    settings: EvaluationSettings = DEFAULT_SETTINGS,
) -> tuple[Any, dict[str, Tensor]]:
    """Return the output of a module, or of its method or submodule `part`, and the buffers after the call.

    Args:
        module: as in `call`.
        part: path of a method or submodule, as in `functional_call`; "" for the module itself.
        layout: as in `call`.
        vector: as in `call`.
        views: returns the parameters by name as views of the vector.
        buffers: as in `call`.
        inputs: inputs: tensors, also nested in tuples, lists and dictionaries, or other values.
        keywords: inputs by keyword.
        settings: as in `call`.
    """
    entry = None
    if (cache := settings.forward_cache) is not None:
        entry = cache.entry(vector, part, (module, *buffers.values(), *tree_leaves((inputs, dict(keywords)))))
        if entry is not None and entry.result is not None:
            return entry.result
    # One merged dictionary: with two, buffers that the module reassigns would be lost. BatchNorm updates in place.
    merged = {**_frozen_on(module, layout, vector.device), **views(vector)}
    merged |= {name: buffer.clone() for name, buffer in buffers.items()}
    if settings.channels_last:
        merged = {name: _channels_last(tensor) for name, tensor in merged.items()}
        inputs, keywords = tree_map_only(Tensor, _channels_last, (inputs, dict(keywords)))
    if settings.precision == "float32":
        output = functional_call(module, merged, inputs, keywords, part)
        result = output, {name: merged[name] for name in buffers}
    else:
        reduced = getattr(torch, settings.precision)
        with torch.autocast(vector.device.type, reduced, cache_enabled=False):
            output = functional_call(module, merged, inputs, keywords, part)
        # The output and the buffers keep the precision of the parameters and the original buffers.
        output = map_tensors(lambda x: x.to(vector.dtype) if x.dtype == reduced else x, output)
        result = output, {name: merged[name].to(buffer.dtype) for name, buffer in buffers.items()}
    if entry is not None:
        entry.result = result
    return result


def _channels_last(tensor: Tensor) -> Tensor:
    """Return a tensor of four axes (images or convolution weights) in channels-last format; others unchanged."""
    # Under vmap, a tensor hides its batch axis.
    mapped = torch._C._functorch.is_batchedtensor(tensor)  # pyright: ignore[reportAttributeAccessIssue]
    return tensor if tensor.dim() != 4 or mapped else tensor.contiguous(memory_format=torch.channels_last)


def _frozen_on(module: nn.Module, layout: Layout, device: torch.device) -> dict[str, Tensor]:
    """Return copies of the frozen parameters on `device` if the module is elsewhere; training never moves them."""
    if device_of(module, layout.names[0]) == device:
        return {}
    return {name: parameter.to(device) for name, parameter in module.named_parameters() if name not in layout.names}


def trainable(module: nn.Module) -> dict[str, Tensor]:
    """Return the trainable parameters by name; frozen parameters are left out."""
    return {name: parameter for name, parameter in module.named_parameters() if parameter.requires_grad}


@torch.no_grad()
def write(module: nn.Module, layout: Layout, vector: Tensor, buffers: dict[str, Tensor], owner: str = "module") -> None:
    """Write parameters (layout.size,) and buffers into a module of the same architecture.

    Raises:
        InvalidValue: the module's parameters or buffers have other names or shapes.
    """
    values = {**layout.unflatten(vector), **buffers}
    frozen = {name: parameter for name, parameter in module.named_parameters() if name in buffers}
    slots = {**trainable(module), **dict(module.named_buffers()), **frozen}
    shapes, expected = ({name: tuple(t.shape) for name, t in tensors.items()} for tensors in (slots, values))
    require(shapes == expected, owner, shapes, f"a module with the tensors {expected}")
    for name, slot in slots.items():
        slot.copy_(values[name])


@torch.no_grad()
def modules_of(
    game: Game, vectors: Vectors, buffers: Buffers, batch: Batch
) -> dict[str, nn.Module | tuple[nn.Module, ...] | Tensor]:
    """Return copies of each player's modules with its parameters written into them.

    The losses are evaluated once, to record for each module the player whose vector it is called with.

    Args:
        game: any game whose losses call modules with views of the players' vectors, as `call` does.
        vectors: each player's parameters, (n_i,).
        buffers: the modules' buffers.
        batch: one batch, for an evaluation of the losses.

    Returns:
        For each player its module in evaluation mode, a tuple of its modules, or its vector if it has no module.
    """
    vectors = {name: vector.detach().clone() for name, vector in vectors.items()}  # each in a storage of its own
    owners = {vector.untyped_storage().data_ptr(): name for name, vector in vectors.items()}
    calls: dict[str, dict[nn.Module, dict[str, tuple[int, torch.Size]]]] = {name: {} for name in vectors}

    def watch(module: nn.Module, inputs: tuple) -> None:
        del inputs
        parameters = {name: p for name, p in module.named_parameters() if p.untyped_storage().data_ptr() in owners}
        players = {owners[p.untyped_storage().data_ptr()] for p in parameters.values()}
        inside = [part for module_places in calls.values() for outer in module_places for part in outer.modules()]
        if len(players) == 1 and module not in inside:
            places = {name: (int(p.storage_offset()), p.shape) for name, p in parameters.items()}
            calls[players.pop()].setdefault(module, places)

    handle = register_module_forward_pre_hook(watch)
    try:
        game.losses(vectors, buffers, batch)
    finally:
        handle.remove()
    trained: dict[str, nn.Module | tuple[nn.Module, ...] | Tensor] = {}
    for player, module_places in calls.items():
        modules = []
        for module, places in module_places.items():
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
    """Return a copy of a module, in the same modes. The module may have been called before."""
    return deep_copy(module)


def build(name: str, builder: Build, generator: torch.Generator) -> nn.Module:
    """Return a copy of the user's module, or a new module from the user's factory, initialised from `generator`.

    Raises:
        InvalidValue: `builder`, called `name` in the message, is not a module and does not return one.
    """
    allowed = "an nn.Module, or a class or function that returns one"
    scripted = isinstance(builder, torch.jit.ScriptModule)
    require(not scripted, name, type(builder).__name__, allowed, "Pass the module before torch.jit.script or trace")
    if isinstance(builder, nn.Module):
        try:
            return _dense(copied(builder))
        except Exception as error:
            first = str(error).partition("\n")[0]
            raise InvalidValue(
                name, type(builder).__name__, "a module that can be copied (copy.deepcopy)", first
            ) from error
    require(callable(builder), name, builder, allowed)
    seed = torch.randint(2**62, (), generator=generator, device=generator.device).item()
    gpus = range(torch.cuda.device_count()) if torch.cuda.is_initialized() else ()  # where a factory may put a module
    with torch.random.fork_rng(gpus):
        torch.manual_seed(seed)
        try:
            module = builder()
        except InvalidValue:
            raise
        except Exception as error:
            raise failure(name, error, "a class or function without arguments that returns an nn.Module") from error
    require(isinstance(module, nn.Module), name, builder, allowed)
    return _dense(module)


def _dense(module: nn.Module) -> nn.Module:
    """Return the module, with the gradients of its embeddings switched from sparse to dense layout."""
    for part in module.modules():
        if isinstance(part, (nn.Embedding, nn.EmbeddingBag)):
            part.sparse = False
    return module


def is_lazy(tensor: Tensor) -> bool:
    """Whether a tensor belongs to a lazy layer that has not been called yet, and so has no shape."""
    return isinstance(tensor, (UninitializedParameter, UninitializedBuffer))


def has_lazy_layers(module: nn.Module) -> bool:
    """Whether a module has a lazy layer that has not been called yet."""
    return any(map(is_lazy, (*module.parameters(), *module.buffers())))


def initialize_lazy_layers(
    name: str, module: nn.Module, generator: torch.Generator, inputs: tuple[Tensor, ...]
) -> nn.Module:
    """Return the module after its lazy layers, if any, got their shapes from `inputs` and values from `generator`.

    Raises:
        InvalidValue: the module does not accept the inputs; `name` is the field in the message.
    """
    if not has_lazy_layers(module):
        return module
    tensors = (*module.parameters(), *module.buffers())
    seed = int(torch.randint(2**62, (), generator=generator, device=generator.device))
    device, dtype = tensors[0].device, tensors[0].dtype
    try:
        with torch.no_grad(), evaluating(module), seeded(seed, device):
            module(inputs[0].to(device, dtype), *(x.to(device) for x in inputs[1:]))
    except Exception as error:
        allowed = f"a module that accepts input of shape {', '.join(str(tuple(x.shape)) for x in inputs)}"
        raise InvalidValue(name, type(module).__name__, allowed, str(error).partition("\n")[0]) from error
    return module


def copy_buffers(module: nn.Module, moving: Collection[str] = ()) -> dict[str, Tensor]:
    """Return copies of a module's buffers, and of the frozen parameters in `moving`, which calls of it change."""
    frozen = {name: parameter for name, parameter in module.named_parameters() if name in moving}
    return {name: tensor.detach().clone() for name, tensor in (*module.named_buffers(), *frozen.items())}


@contextmanager
def evaluated(
    module: nn.Module, layout: Layout, vector: Tensor, buffers: dict[str, Tensor]
) -> Iterator[Callable[..., Tensor]]:
    """Yield a function that calls a module in evaluation mode with these parameters and buffers.

    A module that overrides `train`, for example to merge weights in evaluation mode, is copied: merging and unmerging
    would round its tensors, and would merge the module's own weights instead of those in `vector`.
    """
    if all(type(part).train is nn.Module.train and type(part).eval is nn.Module.eval for part in module.modules()):
        with evaluating(module):
            yield lambda *inputs: call(module, layout, vector, buffers, *inputs)[0]
        return
    copy_of_module = copied(module).to(vector.device)
    write(copy_of_module, layout, vector, buffers)
    yield copy_of_module.eval()


@contextmanager
def evaluating(module: nn.Module) -> Iterator[nn.Module]:
    """Put a module into evaluation mode; restore the mode of every submodule on exit."""
    modes = [(part, part.training) for part in module.modules()]
    module.eval()
    try:
        yield module
    finally:
        for part, mode in modes:
            part.training = mode


def is_traceable(module: nn.Module) -> bool:
    """Whether all of torch's own layers in a module can be traced."""
    return not any(_writes_or_reads_outside(part) for part in module.modules())


def _writes_or_reads_outside(part: nn.Module) -> bool:
    """Whether a layer writes where tracing cannot follow (spectral norm) or reads a tensor as a Python number."""
    hooked = any(isinstance(hook, SpectralNorm) for hook in part._forward_pre_hooks.values())
    counts = isinstance(part, _NormBase) and part.track_running_stats and part.momentum is None
    return hooked or counts or type(part).__name__ == "_SpectralNorm"
