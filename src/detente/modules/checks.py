"""Whether a module that is called with tensors in the place of its own does what an ordinary training loop would.

A game calls modules as pure functions of parameters, buffers and inputs. A module that is not such a function (it reads
a parameter by another way, remembers something in an attribute, writes into its input) would train wrongly in silence.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from detente.autodiff import output_gradient
from detente.errors import InvalidValue, require
from detente.modules.calling import copied, copy_buffers, is_lazy, trainable, write
from detente.modules.functional_call import functional_call
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

_COUNTS = (*range(17), 31, 32, 63, 64, 99, 100, 127, 128, 255, 256, 499, 500, 999, 1000, 9999, 10**4, 10**5, 10**6)
_BUFFER = "Keep it in a buffer (register_buffer), which is part of the training's state"


@dataclass(frozen=True)
class Traits:
    """What a module does beside mapping inputs to outputs.

    Args:
        moving: names of the frozen parameters that a call changes, which belong to the state as buffers do.
        sources: where it draws random numbers from, torch's global generator and its own generators aside.
        stochastic: whether it draws random numbers at all.
    """

    moving: tuple[str, ...]
    sources: tuple[Source, ...]
    stochastic: bool


def require_separate(players: Mapping[str, object], modules: Mapping[str, nn.Module]) -> None:
    """Refuse players that hold the same trainable parameter.

    Args:
        players: what the user gave for each player, modules or factories of modules.
        modules: the modules that the game uses, in which the two copies of one layer would be two layers.

    Raises:
        InvalidValue: naming the parameter in both.
    """
    held: dict[int, tuple[str, str]] = {}
    for player, builder in players.items():
        module = builder if isinstance(builder, nn.Module) else modules[player]
        parameter_names = {id(tensor): name for name, tensor in module.named_parameters()}
        for path, tensor in tensors_in(module).items():
            trained = isinstance(tensor, nn.Parameter) and tensor.requires_grad
            if not trained or is_lazy(tensor) or not tensor.numel():
                continue
            name = parameter_names.get(id(tensor), path)
            owner, owner_name = held.setdefault(tensor.data_ptr(), (player, name))
            hint = f"{owner} and {player} both hold the parameter {owner_name} ({name}); which player moves it?"
            require(owner == player, player, name, f"parameters that {owner} does not hold", hint)


def examine(player: str, module: nn.Module, layout: Layout, original: object, *inputs: Tensor) -> Traits:
    """Return what a module does beside mapping inputs to outputs; refuse what a game cannot train faithfully.

    Args:
        player: name of the player, for messages.
        module: a module that was never called since it was built; only copies of it are called here.
        layout: names and shapes of its trainable parameters.
        original: what the user gave: a module that must not be reached from its copy, or a factory.
        inputs: inputs of a call, of which the first is replaced by random numbers.

    Raises:
        InvalidValue: of the player, naming what was found.
    """
    try:
        return _Examination(player, module, layout, original, inputs).result()
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
    """A call's output, the tensors that it left in the place of those that it was lent, and whether it drew."""

    output: Tensor
    left: dict[str, Tensor]
    drew: tuple[bool, ...]


class _Reads(TorchDispatchMode):
    """Records which of some memory, by its address, operations read."""

    def __init__(self, names: Mapping[int, str]) -> None:
        super().__init__()
        self._names, self.read = names, dict[str, None]()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        for tensor in tree_leaves((args, kwargs)):
            address = _address(tensor)
            if address in self._names:
                self.read[self._names[address]] = None
        return func(*args, **(kwargs or {}))


class _Differentiated(nn.Module):
    """A module, and the gradient of its output's sum, taken while its parameters are still lent to it."""

    def __init__(self, module: nn.Module, at: Tensor) -> None:
        super().__init__()
        self.module, self.at = module, (at,)

    def forward(self, *inputs: Tensor) -> Tensor:
        return _gradient(self.module(*inputs), *self.at)


class _Examination:
    """Calls of copies of one module, compared."""

    def __init__(
        self, player: str, module: nn.Module, layout: Layout, original: object, inputs: tuple[Tensor, ...]
    ) -> None:
        self.player, self.module, self.layout, self.original = player, module, layout, original
        generator = torch.Generator(inputs[0].device).manual_seed(0)
        with torch.no_grad():
            vector = layout.flatten(trainable(module))
            noise = torch.empty_like(vector).normal_(generator=generator)
            self.own, self.other = vector, 1.1 * vector + 0.01 * noise
            shape = torch.empty_like(inputs[0])
            self.first, self.second = (
                (shape.normal_(generator=generator).clone().to(vector.dtype), *inputs[1:]) for _ in range(2)
            )
        self.frozen = tuple(name for name, parameter in module.named_parameters() if not parameter.requires_grad)
        self.memory = copy_buffers(module, self.frozen)
        self.named = named_in_code(module)
        self.global_sources = list({id(source): source for source in (PYTHON, NUMPY, *self.named)}.values())

    def result(self) -> Traits:
        """Return the traits, or raise."""
        for name, part in self.module.named_modules():
            renormalises = isinstance(part, (nn.Embedding, nn.EmbeddingBag)) and part.max_norm is not None
            hint = "A step leaves its parameters as they are until the optimizer moves them"
            require(not renormalises, self.player, f"{name}.max_norm", "embeddings without max_norm", hint)
        fresh = self._lend(copied(self.module), self.other, self.second)
        called, snapshots = copied(self.module), [_snapshot(self.module)]
        for at, inputs in ((self.own, self.first), (self.other, self.first), (self.other, self.second)):
            second_call = self._lend(called, at, inputs)
            snapshots.append(_snapshot(called))
        self._require_no_history(fresh, second_call, _changed(snapshots[0], snapshots[-1]))
        self._require_no_counter(called, second_call, _changed(snapshots[1], snapshots[-1]))
        self._require_same_as_written(fresh)
        self._require_gradients(fresh)
        drew = [any(draws) for draws in zip(fresh.drew, second_call.drew, self._draws_in_evaluation(), strict=True)]
        moving = tuple(name for name in self.frozen if _moved(self.memory[name], fresh.left[name]))
        named = {id(source) for source in self.named}
        used = tuple(
            s for s, drew_numbers in zip(self.global_sources, drew[1:], strict=False) if drew_numbers or id(s) in named
        )
        return Traits(moving, used, any(drew) or bool(used))

    def _sources(self, module: nn.Module) -> list[Source]:
        return [*self.global_sources, *generators_in(module)]

    def _lend(self, module: nn.Module, at: Tensor, inputs: tuple[Tensor, ...], watched: bool = True) -> _Call:
        """Call a copy with parameters lent to it, and refuse what it does to them, to buffers and to its input."""
        leaf = at.detach().clone().requires_grad_()
        tensors = {**self.layout.unflatten(leaf), **{name: tensor.clone() for name, tensor in self.memory.items()}}
        tensors_after, arguments = dict(tensors), tuple(x.clone() for x in inputs)
        addresses = {name: tensor.data_ptr() for name, tensor in tensors.items()}
        buffers = dict(module.named_buffers())
        reads = _Reads(self._elsewhere(module) if watched else {})
        device, sources = at.device, self._sources(module)
        with torch.enable_grad(), seeded(0, device, sources):
            before = [random_state(device), *map(state_of, sources)]
            with reads:
                output = functional_call(module, tensors_after, arguments)
            after = [random_state(device), *map(state_of, sources)]
        read_name = next(iter(reads.read), None)
        hint = (
            "Training cannot reach it there: a list, tuple or dictionary of parameters, or a submodule, can be reached"
        )
        allowed = "a module that reads parameters from itself and its submodules alone"
        require(read_name is None, self.player, f"{type(module).__name__} reads {read_name}", allowed, hint)
        written = any(not torch.equal(x, y) for x, y in zip(inputs, arguments, strict=True))
        hint = "inplace=True in the first layer, or x.mul_(…): work on x.clone()"
        require(not written, self.player, f"{type(module).__name__} writes into its input", "input left as is", hint)
        for name in self.layout.names:
            moved = tensors_after[name].data_ptr() != addresses[name] or not torch.equal(leaf, at)
            hint = "The optimizer alone moves it. To initialise it from data, call the module once before"
            require(not moved, self.player, f"forward writes the parameter {name}", "parameters left as they are", hint)
        added = [name for name in dict(module.named_buffers()) if name not in buffers]
        hint = "Give it its first value when the module is made"
        allowed = "buffers that have a value from the beginning"
        require(not added, self.player, f"the buffer {', '.join(added)} is set in forward", allowed, hint)
        for name, tensor in self.memory.items():
            shapes = tuple(tensor.shape), tuple(tensors_after[name].shape)
            compatible = shapes[0] == shapes[1] and tensor.dtype == tensors_after[name].dtype
            allowed = "buffers that keep shape and dtype"
            value = f"the buffer {name} of shape {shapes[0]} becomes one of shape {shapes[1]} in forward"
            require(compatible, self.player, value, allowed)
        return _Call(output, tensors_after, tuple(not same_state(x, y) for x, y in zip(before, after, strict=True)))

    def _elsewhere(self, module: nn.Module) -> dict[int, str]:
        """Return the memory of which a lent call must read nothing, by address."""
        addresses = {_address(tensor): f"{name} past its own name" for name, tensor in trainable(module).items()}
        if isinstance(self.original, nn.Module):
            named = (*self.original.named_parameters(), *self.original.named_buffers())
            value = "of the module that was handed in, not of the game's copy"
            addresses |= {_address(tensor): f"{name} {value}" for name, tensor in named}
        addresses.pop(0, None)
        return addresses

    def _require_no_history(self, fresh: _Call, second_call: _Call, changed: list[str]) -> None:
        """Refuse a module that answers otherwise after earlier calls."""
        strict = self.own.device.type == "cpu"
        agrees = _close(fresh.output, second_call.output, strict) and all(
            _close(fresh.left[name], second_call.left[name], strict) for name in self.memory
        )
        reason = f"it changes {', '.join(changed[:3])}. " if changed else ""
        hint = f"Here {reason}It is a counter or another state in Python, or random numbers without a seed. {_BUFFER}"
        allowed = "a module whose output depends on parameters, buffers and input alone"
        value = f"{type(self.module).__name__}, whose output depends on earlier calls"
        require(agrees, self.player, value, allowed, hint)

    def _require_no_counter(self, called: nn.Module, second_call: _Call, changed: list[str]) -> None:
        """Refuse a module whose output depends on a number that calls change, if only at some of its values."""
        for reference in list(references(called)):
            number = reference.value
            if reference.path not in changed or isinstance(number, bool) or not isinstance(number, (int, float)):
                continue
            for count in _COUNTS:
                if not reference.replace(type(number)(count)):
                    break
                try:
                    agrees = _close(
                        second_call.output, self._lend(called, self.other, self.second, watched=False).output
                    )
                except Exception:
                    agrees = False
                value = f"{type(self.module).__name__}, whose output depends on the Python counter {reference.path}"
                allowed = "a module whose output depends on parameters, buffers and input alone"
                require(agrees, self.player, value, allowed, _BUFFER)

    def _require_same_as_written(self, fresh: _Call) -> None:
        """Refuse a module that gives something else when the same values are its own, as in an ordinary loop."""
        if self._agrees(self.other, fresh):
            return
        names = []
        for name in self.layout.names:
            values = {**self.layout.unflatten(self.own), name: self.layout.unflatten(self.other)[name]}
            at = self.layout.flatten(values)
            if not self._agrees(at, self._lend(copied(self.module), at, self.second, watched=False)):
                names.append(name)
        value = f"{type(self.module).__name__} reads {', '.join(names[:3]) or 'parameters'} past their own names"
        hint = "A copy of a parameter (an attribute, a NumPy array) is not what training moves"
        raise InvalidValue(self.player, value, "a module that reads parameters from itself alone", hint)

    @torch.no_grad()
    def _agrees(self, at: Tensor, functional: _Call) -> bool:
        """Whether a call of a module with values of its own, called before with others, gives what a lent call gave."""
        written = copied(self.module)
        with seeded(0, at.device, self._sources(written)):
            written(*(x.clone() for x in self.first))
        write(written, self.layout, at, self.memory)
        with seeded(0, at.device, self._sources(written)):
            output = written(*(x.clone() for x in self.second))
        buffers_after = copy_buffers(written, self.frozen)
        return _close(output, functional.output) and all(
            _close(buffers_after[name], functional.left[name]) for name in self.memory
        )

    def _require_gradients(self, fresh: _Call) -> None:
        """Refuse a module through which gradients are none, or others than those of the parameters lent to it."""
        recomputes = False
        for needed in (True, False):  # a generator's own input never needs a gradient: its module may not allow one
            try:
                gradients, within = self._gradient(needed), self._gradient(needed, within=True)
                recomputes = not _close(gradients, within)
                if needed and not fresh.output.requires_grad:
                    self._gradient(needed, of_input=True)
                break
            except Exception as error:
                recomputes = "checkpoint" in str(error)  # its older kind refuses gradients asked for by name
                if recomputes:
                    break
                if not needed:
                    raise
        hint = "It would run them again with other parameters than its own. To spare memory: accumulate, precision"
        allowed = "a module without gradient checkpointing, which runs layers again in the backward pass"
        require(not recomputes, self.player, type(self.module).__name__, allowed, hint)
        hint = "no_grad, detach, or NumPy within forward cuts it off: an ordinary loop would end in an error"
        value = f"{type(self.module).__name__}, whose output does not require grad"
        require(fresh.output.requires_grad, self.player, value, "an output that depends on the parameters", hint)

    def _gradient(self, input_needs_gradient: bool, within: bool = False, of_input: bool = False) -> Tensor:
        """Return the gradient of the sum of a copy's output, taken after its call or while parameters are still lent.

        They differ where layers run again in the backward pass, with the parameters that the module then has.
        """
        module, at = copied(self.module), self.other.detach().clone().requires_grad_()
        inputs = (self.second[0].clone().requires_grad_(input_needs_gradient), *self.second[1:])
        tensors = {**self.layout.unflatten(at), **{name: tensor.clone() for name, tensor in self.memory.items()}}
        with torch.enable_grad(), seeded(0, at.device, self._sources(module)):
            if within:
                tensors = {f"module.{name}": tensor for name, tensor in tensors.items()}
                return functional_call(_Differentiated(module, at), tensors, inputs)
            return _gradient(functional_call(module, tensors, inputs), inputs[0] if of_input else at)

    def _draws_in_evaluation(self) -> tuple[bool, ...]:
        """Return which sources of random numbers a call in evaluation mode draws from."""
        try:
            return self._lend(copied(self.module).eval(), self.own, self.second, watched=False).drew
        except Exception:  # it will say so itself when it is evaluated
            return (False,) * (1 + len(self._sources(self.module)))


def _gradient(output: Tensor, at: Tensor) -> Tensor:
    return output_gradient(output, at) if output.requires_grad else torch.zeros_like(at)


def _address(tensor: object) -> int:
    """Return where a tensor's memory begins, 0 where it has none of its own."""
    try:
        owns = isinstance(tensor, Tensor) and not is_lazy(tensor)
        return tensor.untyped_storage().data_ptr() if owns else 0  # pyright: ignore
    except (RuntimeError, NotImplementedError):  # sparse ones
        return 0


def _moved(before: Tensor, after: Tensor) -> bool:
    return before.shape != after.shape or not torch.equal(before, after)


@torch.no_grad()
def _close(first: Tensor, second: Tensor, strict: bool = False) -> bool:
    """Whether two tensors agree to rounding."""
    if first.shape != second.shape or not (first.is_floating_point() or first.is_complex()):
        return torch.equal(first, second)
    epsilon = torch.finfo(first.dtype).eps
    finite = first.isfinite() & second.isfinite()
    if not torch.equal(first.isfinite(), second.isfinite()) or not bool(finite.any()):
        return bool((first.isfinite() == second.isfinite()).all())
    first, second = first[finite], second[finite]
    return bool((first - second).abs().max() <= (16 * epsilon if strict else epsilon**0.5) * first.abs().max())


def _snapshot(module: nn.Module) -> dict[str, Any]:
    """Return the numbers and tensors that a module keeps beside its parameters and buffers, by path."""
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
            return not _moved(first, second)
        return type(first) is type(second) and first == second

    return [path for path, value in after.items() if path not in before or not equal(before[path], value)]


@torch.no_grad()
def _restore(original: nn.Module, pristine: nn.Module) -> None:
    """Give a module that was reached by mistake the values that it had."""
    values = {**dict(pristine.named_parameters()), **dict(pristine.named_buffers())}
    for name, tensor in (*original.named_parameters(), *original.named_buffers()):
        if name in values and not is_lazy(tensor) and _moved(values[name], tensor):
            tensor.copy_(values[name])
