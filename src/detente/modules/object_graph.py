"""The objects that a module refers to, with their paths, and a deep copy that includes functions.

`copy.deepcopy` does not copy functions: a lambda over `self`, stored in a module, would call the layers of the
original module.
"""

from __future__ import annotations

import copy
import types
from collections import deque
from collections.abc import Iterator, MutableMapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensor
from torch.nn.parameter import UninitializedBuffer, UninitializedParameter

_LEAVES = (type, types.ModuleType, types.CodeType, str, bytes, int, float, complex, Tensor, torch.dtype, torch.device)
_TRANSPARENT = ("_parameters", "_buffers", "_modules")  # dictionaries of a module that are left out of paths


@dataclass(frozen=True, eq=False)
class Reference:
    """A reference from one object to another.

    Args:
        path: path from the module to the value, for messages: "layers.0.weight", "features[0]".
        owner: the object that refers to the value; for an attribute, the dictionary of attributes.
        key: name, key or index of the value in the owner.
        value: the object referred to.
    """

    path: str
    owner: Any
    key: Any
    value: Any

    def replace(self, value: Any) -> bool:
        """Make the owner refer to another value; return whether this is possible (not for tuples and sets)."""
        if isinstance(self.owner, types.CellType):
            self.owner.cell_contents = value
        elif isinstance(self.owner, MutableMapping) and self.key in self.owner:
            self.owner[self.key] = value
        elif isinstance(self.owner, list) and self.key < len(self.owner):
            self.owner[self.key] = value
        else:
            return False
        return True


def references(root: object) -> Iterator[Reference]:
    """Yield every reference that can be reached from an object: attributes, container items and closure variables.

    Each owner is visited once. The contents of torch's own functions, of classes and of Python modules are left out.
    """
    visited = {id(root)}
    queue: deque[tuple[str, Any]] = deque([("", root)])
    while queue:
        path, owner = queue.popleft()
        for reference in _direct(path, owner):
            yield reference
            value = reference.value
            if id(value) not in visited and not isinstance(value, _LEAVES):
                visited.add(id(value))
                queue.append((reference.path, value))


def _direct(path: str, owner: Any) -> Iterator[Reference]:
    """Yield the references that an object holds directly."""
    if isinstance(owner, MutableMapping):
        transparent = path.rpartition(".")[2] in _TRANSPARENT
        parent_path = path.rpartition(".")[0]
        for key, value in list(owner.items()):
            yield Reference(_dotted(parent_path, str(key)) if transparent else f"{path}[{key!r}]", owner, key, value)
    elif isinstance(owner, (list, tuple, set, frozenset, deque)):
        for index, value in enumerate(list(owner)):
            yield Reference(f"{path}[{index}]", owner, index, value)
    elif isinstance(owner, types.FunctionType):
        for name, cell in zip(owner.__code__.co_freevars, owner.__closure__ or (), strict=True):
            for content in _content(cell):
                yield Reference(_dotted(path, name), cell, None, content)
        for value in (owner.__defaults__, owner.__kwdefaults__):
            if value:
                yield Reference(path, owner, None, value)
    elif isinstance(owner, types.MethodType):
        yield Reference(path, owner, None, owner.__self__)
        yield Reference(path, owner, None, owner.__func__)
    elif isinstance(owner, partial):
        for value in (owner.func, owner.args, owner.keywords):
            yield Reference(path, owner, None, value)
    attributes = getattr(owner, "__dict__", None)
    if isinstance(attributes, dict):
        for key, value in list(attributes.items()):
            yield Reference(_dotted(path, str(key)), attributes, key, value)


def _dotted(path: str, name: str) -> str:
    return f"{path}.{name}" if path else name


def _content(cell: types.CellType) -> tuple[Any, ...]:
    """Return the value of a closure variable as a tuple, which is empty if it has no value yet."""
    try:
        return (cell.cell_contents,)
    except ValueError:
        return ()


def tensors_in(root: object) -> dict[str, Tensor]:
    """Return every tensor that can be reached from an object, by the first path to it."""
    paths: dict[int, str] = {}
    tensors: dict[str, Tensor] = {}
    for reference in references(root):
        if isinstance(reference.value, Tensor) and id(reference.value) not in paths:
            paths[id(reference.value)] = reference.path
            tensors[reference.path] = reference.value
    return tensors


def deep_copy(module: nn.Module) -> nn.Module:
    """Return a deep copy of a module, in which functions refer to the copy instead of the original.

    Tensors that an earlier call stored are copied without their graph.
    """
    all_references = list(references(module))
    memo: dict[Any, Any] = {}
    for value in {id(r.value): r.value for r in all_references if isinstance(r.value, nn.Parameter)}.values():
        duplicate = copy.deepcopy(value, memo)
        if not isinstance(value, UninitializedParameter) and value.is_contiguous() and _fills_storage(value):
            # So that views of a parameter become views of its copy.
            memo.setdefault("torch", {})[value.untyped_storage()._cdata] = duplicate.untyped_storage()
    for reference in all_references:
        value = reference.value
        if isinstance(value, types.ModuleType):
            memo[id(value)] = value
        elif isinstance(value, UninitializedBuffer):
            memo[id(value)] = UninitializedBuffer(False, value.device, value.dtype)  # pyright: ignore
        elif isinstance(value, Tensor) and _left_by_tracing(value):
            memo[id(value)] = None
        elif isinstance(value, Tensor) and _is_computed(value):
            memo[id(value)] = copy.deepcopy(value.detach(), memo)
    functions = {id(r.value): r.value for r in all_references if isinstance(r.value, types.FunctionType)}
    rebuilt = [function for function in functions.values() if _refers_to_tensors(function)]
    cells: dict[int, types.CellType] = {}  # so that functions keep sharing their variables
    for function in rebuilt:
        closure = tuple(cells.setdefault(id(cell), types.CellType()) for cell in function.__closure__ or ())
        duplicate = types.FunctionType(function.__code__, function.__globals__, function.__name__, None, closure)
        duplicate.__qualname__, duplicate.__doc__, duplicate.__module__ = (
            function.__qualname__,
            function.__doc__,
            function.__module__,
        )
        memo[id(function)] = duplicate
    result = copy.deepcopy(module, memo)
    for function in rebuilt:
        duplicate = memo[id(function)]
        for cell in function.__closure__ or ():
            for content in _content(cell):
                cells[id(cell)].cell_contents = copy.deepcopy(content, memo) if _refers_to_tensors(content) else content
        duplicate.__defaults__ = copy.deepcopy(function.__defaults__, memo)
        duplicate.__kwdefaults__ = copy.deepcopy(function.__kwdefaults__, memo)
        vars(duplicate).update(copy.deepcopy(vars(function), memo))
    return result


def _is_computed(tensor: Tensor) -> bool:
    """Whether a tensor is on a graph. Torch does not say of a view whose base was overwritten, as by an optimizer."""
    try:
        return not tensor.is_leaf
    except RuntimeError:
        return True


def _fills_storage(tensor: Tensor) -> bool:
    """Whether a tensor fills its whole storage."""
    return (
        tensor.layout == torch.strided and tensor.untyped_storage().nbytes() == tensor.numel() * tensor.element_size()
    )


def _refers_to_tensors(value: object) -> bool:
    """Whether a module or a tensor can be reached from an object."""
    kinds = (nn.Module, Tensor)
    return isinstance(value, kinds) or any(isinstance(reference.value, kinds) for reference in references(value))


def _left_by_tracing(tensor: Tensor) -> bool:
    """Whether a tensor was created by a transformation that has ended, such as tracing."""
    wrapped = torch._C._functorch.is_functorch_wrapped_tensor  # pyright: ignore[reportAttributeAccessIssue]
    return isinstance(tensor, FakeTensor) or wrapped(tensor)
