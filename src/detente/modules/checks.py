"""Checks that a functional call of a module gives the same result as a call in an ordinary training loop.

A game calls modules as pure functions of parameters, buffers and inputs. A module that is not such a function (it reads
a parameter in another way, stores a value in an attribute, writes into its input) would train wrongly without an error.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import TreeSpec, tree_flatten, tree_leaves, tree_unflatten

from detente.autodiff import output_gradient
from detente.errors import InvalidValue, require
from detente.modules.calling import copied, copy_buffers, is_lazy, trainable, write
from detente.modules.functional_call import EMPTY, functional_call, part_of
from detente.modules.layout import Layout
from detente.modules.object_graph import references, tensors_in
from detente.modules.randomness import (
    NUMPY,
    PYTHON,
    Source,
    generators_in,
    named_in_code,
    random_state,
    same_state,
    seeded,
    state_of,
)
from detente.nested import tensors_of

_COUNTS = (*range(17), 31, 32, 63, 64, 99, 100, 127, 128, 255, 256, 499, 500, 999, 1000, 9999, 10**4, 10**5, 10**6)
_BUFFER = "Keep it in a buffer (register_buffer), which is part of the training's state"


@dataclass(frozen=True)
class Traits:
    """Side effects of a module's calls.

    Args:
        moving: names of the frozen parameters that a call changes; like buffers, they belong to the state.
        sources: sources of its random numbers, except torch's global generator and the module's own generators.
        stochastic: whether it draws random numbers.
    """

    moving: tuple[str, ...]
    sources: tuple[Source, ...]
    stochastic: bool


def require_separate(players: Mapping[str, object], modules: Mapping[str, nn.Module]) -> None:
    """Raise an error if two players hold the same trainable parameter.

    Args:
        players: the user's module or factory of each player.
        modules: the game's own modules, in which copies of a shared layer are separate.

    Raises:
        InvalidValue: two players share a parameter, which the message names.
    """
    first_owners: dict[int, tuple[str, str]] = {}  # by address: the player and its name for the parameter
    for player, builder in players.items():
        module = builder if isinstance(builder, nn.Module) else modules[player]
        parameter_names = {id(tensor): name for name, tensor in module.named_parameters()}
        for path, tensor in tensors_in(module).items():
            trained = isinstance(tensor, nn.Parameter) and tensor.requires_grad
            if not trained or is_lazy(tensor) or not tensor.numel():
                continue
            name = parameter_names.get(id(tensor), path)
            owner, owner_name = first_owners.setdefault(tensor.data_ptr(), (player, name))
            hint = f"{owner} and {player} share the parameter {owner_name} ({name}); which player trains it?"
            require(owner == player, player, name, f"parameters that {owner} does not hold", hint)


def examine(
    player: str,
    module: nn.Module,
    layout: Layout,
    original: object,
    *inputs: Any,
    part: str = "",
    keywords: Mapping[str, Any] = EMPTY,
    noise: bool = False,
) -> Traits:
    """Return the side effects of a module's calls; raise an error if a game cannot train the module correctly.

    Args:
        player: name of the player, for messages.
        module: a module that has not been called since it was built; only copies of it are called here.
        layout: names and shapes of its trainable parameters.
        original: the user's module, which its copy must not refer to, or the user's factory.
        inputs: inputs of a call: tensors, also nested in tuples, lists and dictionaries, or other values.
        part: path of a method or submodule that is called instead of the module itself.
        keywords: inputs by keyword.
        noise: replace the first input, a tensor, by random numbers.

    Raises:
        InvalidValue: a game cannot train the module; the message names the reason.
    """
    try:
        leaves, structure = tree_flatten((inputs, dict(keywords)))
        return _Examination(player, module, layout, original, part, leaves, structure, noise).result()
    except InvalidValue:
        raise
    except Exception as error:
        checkpoint = "checkpoint" in str(error)
        allowed = "a module with gradients" + (" and without gradient checkpointing" if checkpoint else "")
        raise InvalidValue(player, type(module).__name__, allowed, str(error).partition("\n")[0]) from error
    finally:
        if isinstance(original, nn.Module):
            _restore(original, module)


@dataclass(frozen=True)
class _Call:
    """Output of a call, parameters and buffers after it by name, and for each source whether it drew numbers."""

    output: Tensor
    tensors: dict[str, Tensor]
    drew: tuple[bool, ...]


class _Reads(TorchDispatchMode):
    """Records which of the given memory addresses are read by operations."""

    def __init__(self, names: Mapping[int, str]) -> None:
        super().__init__()
        self._names, self.read = names, dict[str, None]()

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        return False  # to hide an operation from its compiler, PyTorch imports it, which takes seconds

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        for tensor in tree_leaves((args, kwargs)):
            address = _address(tensor)
            if address in self._names:
                self.read[self._names[address]] = None
        return func(*args, **(kwargs or {}))


class _HiddenReads(_Reads):
    """The same, hidden from PyTorch's compiler, once that is imported, as it is if a user compiles a module."""

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        return True

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return super().__torch_dispatch__(func, types, args, kwargs)


class _Differentiated(nn.Module):
    """Returns the gradient of the sum of a module's output, computed while its parameters are still replaced."""

    def __init__(self, module: nn.Module, part: str, point: Tensor) -> None:
        super().__init__()
        self.module, self.part, self.point = module, part, (point,)

    def forward(self, *inputs: Any, **keywords: Any) -> Tensor:
        called = part_of(self.module, self.part) if self.part else self.module
        return _gradient(_joined(called(*inputs, **keywords)), *self.point)


class _Examination:
    """Calls copies of one module and compares the results."""

    def __init__(
        self,
        player: str,
        module: nn.Module,
        layout: Layout,
        original: object,
        part: str,
        inputs: list[Any],
        structure: TreeSpec,
        noise: bool,
    ) -> None:
        self.player, self.module, self.layout, self.original = player, module, layout, original
        self.part, self.structure = part, structure
        tensors = [x for x in inputs if isinstance(x, Tensor)]
        device = tensors[0].device if tensors else next(iter(trainable(module).values())).device
        generator = torch.Generator(device).manual_seed(0)
        with torch.no_grad():
            vector = layout.flatten(trainable(module))
            shift = torch.empty(vector.shape, dtype=vector.dtype, device=device).normal_(generator=generator)
            self.initial, self.shifted = vector, 1.1 * vector + 0.01 * shift.to(vector.device)
            if noise:
                shape = torch.empty_like(inputs[0])
                self.x1, self.x2 = (
                    [shape.normal_(generator=generator).clone().to(vector.dtype), *inputs[1:]] for _ in range(2)
                )
            else:
                self.x1, self.x2 = inputs, [0.9 * x if _is_floating(x) else x for x in inputs]
        self.frozen = tuple(name for name, parameter in module.named_parameters() if not parameter.requires_grad)
        self.memory = copy_buffers(module, self.frozen)
        self.named_sources = named_in_code(module)
        self.global_sources = list({id(source): source for source in (PYTHON, NUMPY, *self.named_sources)}.values())

    def result(self) -> Traits:
        """Return the traits, or raise `InvalidValue`."""
        for name, part in self.module.named_modules():
            renormalises = isinstance(part, (nn.Embedding, nn.EmbeddingBag)) and part.max_norm is not None
            hint = "Only the optimizer may change parameters during a step"
            require(not renormalises, self.player, f"{name}.max_norm", "embeddings without max_norm", hint)
        fresh = self._call(copied(self.module), self.shifted, self.x2)
        called, snapshots = copied(self.module), [_snapshot(self.module)]
        for point, inputs in ((self.initial, self.x1), (self.shifted, self.x1), (self.shifted, self.x2)):
            second_call = self._call(called, point, inputs)
            snapshots.append(_snapshot(called))
        self._require_no_history(fresh, second_call, _changed(snapshots[0], snapshots[-1]))
        self._require_no_counter(called, second_call, _changed(snapshots[1], snapshots[-1]))
        self._require_same_as_written(fresh)
        self._require_gradients(fresh)
        drew = [any(draws) for draws in zip(fresh.drew, second_call.drew, self._draws_in_evaluation(), strict=True)]
        moving = tuple(name for name in self.frozen if _differs(self.memory[name], fresh.tensors[name]))
        named = {id(source) for source in self.named_sources}
        used = tuple(
            s for s, drew_numbers in zip(self.global_sources, drew[1:], strict=False) if drew_numbers or id(s) in named
        )
        return Traits(moving, used, any(drew) or bool(used))

    def _sources(self, module: nn.Module) -> list[Source]:
        return [*self.global_sources, *generators_in(module)]

    def _call(self, module: nn.Module, point: Tensor, inputs: list[Any], watched: bool = True) -> _Call:
        """Call a copy functionally; raise an error if it changes its parameters or its input, or replaces buffers."""
        leaf = point.detach().clone().requires_grad_()
        tensors = {**self.layout.unflatten(leaf), **{name: tensor.clone() for name, tensor in self.memory.items()}}
        tensors_after, arguments = dict(tensors), [_cloned(x) for x in inputs]
        addresses = {name: tensor.data_ptr() for name, tensor in tensors.items()}
        buffers = dict(module.named_buffers())
        recorder = _HiddenReads if "torch._dynamo" in sys.modules else _Reads
        reads = recorder(self._forbidden_addresses(module) if watched else {})
        device, sources = point.device, self._sources(module)
        with torch.enable_grad(), seeded(0, device, sources):
            before = [random_state(device), *map(state_of, sources)]
            with reads:
                output = _joined(self._functional(module, tensors_after, arguments))
            after = [random_state(device), *map(state_of, sources)]
        read_name = next(iter(reads.read), None)
        hint = "Training cannot reach it there. Use a submodule, or a list, tuple or dictionary of parameters"
        allowed = "a module that reads parameters only from itself and its submodules"
        require(read_name is None, self.player, f"{type(module).__name__} reads {read_name}", allowed, hint)
        pairs = [(x, y) for x, y in zip(inputs, arguments, strict=True) if isinstance(x, Tensor)]
        written = any(x.shape != y.shape or not bool(((x == y) | (x.isnan() & y.isnan())).all()) for x, y in pairs)
        hint = "The cause may be inplace=True in the first layer, or x.mul_(…). Use x.clone()"
        require(not written, self.player, f"{type(module).__name__} writes into its input", "unchanged input", hint)
        for name in self.layout.names:
            equal = torch.equal(leaf.nan_to_num(), point.nan_to_num())  # parameters may be NaN from the beginning
            changed = tensors_after[name].data_ptr() != addresses[name] or not equal
            hint = "Only the optimizer may change it. To initialise it from data, call the module once beforehand"
            require(not changed, self.player, f"forward writes the parameter {name}", "unchanged parameters", hint)
        added = [name for name in dict(module.named_buffers()) if name not in buffers]
        hint = "Set it in the constructor of the module"
        allowed = "buffers that are set in the constructor"
        require(not added, self.player, f"the buffer {', '.join(added)} is set in forward", allowed, hint)
        for name, tensor in self.memory.items():
            shapes = tuple(tensor.shape), tuple(tensors_after[name].shape)
            compatible = shapes[0] == shapes[1] and tensor.dtype == tensors_after[name].dtype
            allowed = "buffers that keep shape and dtype"
            value = f"the buffer {name} changes from shape {shapes[0]} to shape {shapes[1]} in forward"
            require(compatible, self.player, value, allowed)
        return _Call(output, tensors_after, tuple(not same_state(x, y) for x, y in zip(before, after, strict=True)))

    def _forbidden_addresses(self, module: nn.Module) -> dict[int, str]:
        """Return a description of all memory that a functional call must not read, by address."""
        addresses = {_address(tensor): f"{name} by another name" for name, tensor in trainable(module).items()}
        if isinstance(self.original, nn.Module):
            named = (*self.original.named_parameters(), *self.original.named_buffers())
            value = "of the original module, not of the game's copy"
            addresses |= {_address(tensor): f"{name} {value}" for name, tensor in named}
        addresses.pop(0, None)
        return addresses

    def _require_no_history(self, fresh: _Call, second_call: _Call, changed: list[str]) -> None:
        """Raise an error if the output depends on earlier calls."""
        strict = self.initial.device.type == "cpu"
        agrees = _close(fresh.output, second_call.output, strict) and all(
            _close(fresh.tensors[name], second_call.tensors[name], strict) for name in self.memory
        )
        hint = f"The cause may be a counter or other state in Python, or random numbers without a seed. {_BUFFER}"
        hint = f"The module changes {', '.join(changed[:3])}. {hint}" if changed else hint
        allowed = "a module whose output depends only on parameters, buffers and input"
        value = f"{type(self.module).__name__}, whose output depends on earlier calls"
        require(agrees, self.player, value, allowed, hint)

    def _require_no_counter(self, called: nn.Module, second_call: _Call, changed: list[str]) -> None:
        """Raise an error if the output depends on a Python number that calls change, for any of several values."""
        for reference in list(references(called)):
            number = reference.value
            if reference.path not in changed or isinstance(number, bool) or not isinstance(number, (int, float)):
                continue
            for count in _COUNTS:
                if not reference.replace(type(number)(count)):
                    break
                try:
                    agrees = _close(second_call.output, self._call(called, self.shifted, self.x2, False).output)
                except Exception:
                    agrees = False
                value = f"{type(self.module).__name__}, whose output depends on the Python counter {reference.path}"
                allowed = "a module whose output depends only on parameters, buffers and input"
                require(agrees, self.player, value, allowed, _BUFFER)

    def _require_same_as_written(self, fresh: _Call) -> None:
        """Raise an error if the output differs when the values are written into the module, as in an ordinary loop."""
        if self._agrees(self.shifted, fresh):
            return
        names = []
        for name in self.layout.names:
            values = {**self.layout.unflatten(self.initial), name: self.layout.unflatten(self.shifted)[name]}
            point = self.layout.flatten(values)
            if not self._agrees(point, self._call(copied(self.module), point, self.x2, watched=False)):
                names.append(name)
        value = f"{type(self.module).__name__} reads {', '.join(names[:3]) or 'parameters'} by other names"
        hint = "Training does not change a copy of a parameter (an attribute, a NumPy array)"
        raise InvalidValue(self.player, value, "a module that reads parameters only from itself", hint)

    @torch.no_grad()
    def _agrees(self, point: Tensor, functional: _Call) -> bool:
        """Whether a module called before, with the values then written into it, agrees with a functional call."""
        written = copied(self.module)
        with seeded(0, point.device, self._sources(written)):
            self._direct(written, self.x1)
        write(written, self.layout, point, self.memory)
        with seeded(0, point.device, self._sources(written)):
            output = _joined(self._direct(written, self.x2))
        buffers_after = copy_buffers(written, self.frozen)
        return _close(output, functional.output) and all(
            _close(buffers_after[name], functional.tensors[name]) for name in self.memory
        )

    def _require_gradients(self, fresh: _Call) -> None:
        """Raise an error if the output has no gradient, or if its gradient belongs to other parameters."""
        recomputes = False
        for track_input in (True, False):  # a generator's input needs no gradient, and its module may not support one
            try:
                gradients, within = self._gradient(track_input), self._gradient(track_input, within=True)
                recomputes = not _close(gradients, within)
                if track_input and not fresh.output.requires_grad:
                    self._gradient(track_input, of_input=True)
                break
            except Exception as error:
                recomputes = "checkpoint" in str(error)  # its older variant does not support torch.autograd.grad
                if recomputes:
                    break
                if not track_input:
                    raise
        hint = "The backward pass would run layers again with other parameters. To save memory: accumulate, precision"
        allowed = "a module without gradient checkpointing"
        require(not recomputes, self.player, type(self.module).__name__, allowed, hint)
        called = part_of(self.module, self.part) if self.part else self.module
        if not isinstance(called, nn.Module) or not trainable(called):
            return  # a method, or a layer without parameters, may have an output that depends on none
        hint = "The cause may be no_grad, detach or NumPy in forward. An ordinary loop would raise an error"
        if fresh.output.requires_grad:
            return
        module, allowed = copied(self.module), "tensors, also nested in tuples, lists, dictionaries and dataclasses"
        with seeded(0, fresh.output.device, self._sources(module)):
            output = self._direct(module, self.x2)
        value = f"{type(self.module).__name__}, which returns {type(output).__name__}"
        require(any(True for _ in tensors_of(output)), self.player, value, allowed)
        value = f"{type(self.module).__name__}, whose output does not require grad"
        raise InvalidValue(self.player, value, "an output that depends on the parameters", hint)

    def _gradient(self, input_needs_gradient: bool, within: bool = False, of_input: bool = False) -> Tensor:
        """Return the gradient of the sum of a copy's output, with respect to its parameters or to its input.

        It is computed after the functional call, or, if `within`, while the parameters are still replaced. Both differ
        if layers run again in the backward pass, which then use the parameters of the module itself.
        """
        module, point = copied(self.module), self.shifted.detach().clone().requires_grad_()
        inputs = [_cloned(x) for x in self.x2]
        first = next((x for x in inputs if _is_floating(x)), None)
        if first is not None:
            first.requires_grad_(input_needs_gradient)
        tensors = {**self.layout.unflatten(point), **{name: tensor.clone() for name, tensor in self.memory.items()}}
        with torch.enable_grad(), seeded(0, point.device, self._sources(module)):
            if within:
                tensors = {f"module.{name}": tensor for name, tensor in tensors.items()}
                arguments, keywords = tree_unflatten(inputs, self.structure)
                return functional_call(_Differentiated(module, self.part, point), tensors, arguments, keywords)
            output = _joined(self._functional(module, tensors, inputs))
            return _gradient(output, first if of_input and first is not None else point)

    def _functional(self, module: nn.Module, tensors: dict[str, Tensor], inputs: list[Any]) -> Any:
        """Call a copy, or its part, with other parameters and buffers."""
        arguments, keywords = tree_unflatten(inputs, self.structure)
        return functional_call(module, tensors, arguments, keywords, self.part)

    def _direct(self, module: nn.Module, inputs: list[Any]) -> Any:
        """Call a copy, or its part, as an ordinary loop does."""
        arguments, keywords = tree_unflatten([_cloned(x) for x in inputs], self.structure)
        return (part_of(module, self.part) if self.part else module)(*arguments, **keywords)

    def _draws_in_evaluation(self) -> tuple[bool, ...]:
        """Return for each source of random numbers whether a call in evaluation mode draws from it."""
        try:
            return self._call(copied(self.module).eval(), self.initial, self.x2, watched=False).drew
        except Exception:  # the evaluation itself will raise it
            return (False,) * (1 + len(self._sources(self.module)))


def _is_floating(value: object) -> bool:
    return isinstance(value, Tensor) and value.is_floating_point()


def _cloned(value: Any) -> Any:
    return value.clone() if isinstance(value, Tensor) else value


def _joined(output: Any) -> Tensor:
    """Return an output as one tensor: itself, or its floating-point tensors, flattened and concatenated."""
    if isinstance(output, Tensor):
        return output
    tensors = list(tensors_of(output))
    floating = [x.flatten() for x in tensors if x.is_floating_point()]
    if not floating:
        return torch.cat([x.flatten() for x in tensors]) if tensors else torch.zeros(())
    dtype = floating[0].dtype
    return torch.cat([x.to(dtype) for x in floating])


def _gradient(output: Tensor, point: Tensor) -> Tensor:
    return output_gradient(output, point) if output.requires_grad else torch.zeros_like(point)


def _address(tensor: object) -> int:
    """Return the address of a tensor's memory, or 0 if it has none."""
    try:
        owns = isinstance(tensor, Tensor) and not is_lazy(tensor)
        return tensor.untyped_storage().data_ptr() if owns else 0  # pyright: ignore
    except (RuntimeError, NotImplementedError):  # sparse tensors
        return 0


def _differs(before: Tensor, after: Tensor) -> bool:
    return before.shape != after.shape or not torch.equal(before, after)


@torch.no_grad()
def _close(first: Tensor, second: Tensor, strict: bool = False) -> bool:
    """Whether two tensors agree up to rounding."""
    if first.shape != second.shape or not (first.is_floating_point() or first.is_complex()):
        return torch.equal(first, second)
    epsilon = torch.finfo(first.dtype).eps
    finite = first.isfinite() & second.isfinite()
    if not torch.equal(first.isfinite(), second.isfinite()) or not bool(finite.any()):
        return bool((first.isfinite() == second.isfinite()).all())
    first, second = first[finite], second[finite]
    return bool((first - second).abs().max() <= (16 * epsilon if strict else epsilon**0.5) * first.abs().max())


def _snapshot(module: nn.Module) -> dict[str, Any]:
    """Return the numbers and tensors that a module holds in addition to its parameters and buffers, by path."""
    tensor_ids = {id(tensor) for tensor in (*module.parameters(), *module.buffers())}
    values = {}
    for reference in references(module):
        value = reference.value
        if isinstance(value, Tensor) and id(value) not in tensor_ids:
            values[reference.path] = value.detach().clone()
        elif value is None or isinstance(value, (bool, int, float, str)):
            values[reference.path] = value
    return values


def _changed(before: dict[str, Any], after: dict[str, Any]) -> list[str]:
    """Return the paths at which two snapshots differ."""

    def equal(first: Any, second: Any) -> bool:
        if isinstance(first, Tensor) and isinstance(second, Tensor):
            return not _differs(first, second)
        return type(first) is type(second) and first == second

    return [path for path, value in after.items() if path not in before or not equal(before[path], value)]


@torch.no_grad()
def _restore(original: nn.Module, pristine: nn.Module) -> None:
    """Restore the values of the user's module, which a faulty copy may have changed."""
    values = {**dict(pristine.named_parameters()), **dict(pristine.named_buffers())}
    for name, tensor in (*original.named_parameters(), *original.named_buffers()):
        if name in values and not is_lazy(tensor) and _differs(values[name], tensor):
            tensor.copy_(values[name])
