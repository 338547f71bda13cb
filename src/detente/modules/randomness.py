"""Sources of a module's random numbers, and a context that seeds all of them.

In addition to torch's global generator: Python's `random`, NumPy's global state, and generators that a module or its
code holds.
"""

from __future__ import annotations

import dis
import inspect
import random
import sys
import types
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy
import torch
from torch import Tensor, nn

from detente.modules.object_graph import references

Source = torch.Generator | random.Random | numpy.random.Generator | numpy.random.RandomState

PYTHON: random.Random = random.seed.__self__  # type: ignore[attr-defined]
NUMPY: numpy.random.RandomState = numpy.random.mtrand._rand
_KINDS = (torch.Generator, random.Random, numpy.random.Generator, numpy.random.RandomState)
_NOT_FOLLOWED = sys.stdlib_module_names | {"torch", "numpy", "detente"}


@contextmanager
def seeded(seed: int, device: torch.device, sources: Sequence[Source] = ()) -> Iterator[Callable[[int], None]]:
    """Seed torch on the CPU and on `device`, and other sources of random numbers; restore all states on exit.

    Yields a function that seeds all of them again.
    """
    generators: list[Source] = [torch.default_generator, *sources]
    if device.type == "cuda":
        index = torch.cuda.current_device() if device.index is None else device.index
        generators.append(torch.cuda.default_generators[index])
    original_states = [(generator, state_of(generator)) for generator in generators]

    def reseed(seed: int) -> None:
        if device.type not in ("cpu", "cuda"):
            torch.manual_seed(seed)
        # `torch.manual_seed` would seed every device, and format a stack trace for each unused one.
        for generator in generators:
            _seed(generator, seed)

    try:
        reseed(seed)
        yield reseed
    finally:
        for generator, state in original_states:
            _restore(generator, state)


def random_state(device: torch.device) -> Tensor:
    """Return the global random state of a device."""
    return torch.cuda.get_rng_state(device) if device.type == "cuda" else torch.get_rng_state()


def state_of(source: Source) -> Any:
    """Return the state of a source of random numbers; compare two states with `same_state`."""
    if isinstance(source, random.Random):
        return source.getstate()
    if isinstance(source, numpy.random.Generator):
        return source.bit_generator.state
    return source.get_state() if isinstance(source, torch.Generator) else source.get_state(legacy=False)


def same_state(first: Any, second: Any) -> bool:
    """Whether two states of one source are equal, so that nothing was drawn between them."""
    if isinstance(first, Tensor):
        return torch.equal(first, second)
    if isinstance(first, dict):  # NumPy's states are nested, and contain arrays
        return first.keys() == second.keys() and all(same_state(first[name], second[name]) for name in first)
    return numpy.array_equal(first, second) if isinstance(first, numpy.ndarray) else first == second


def _seed(source: Source, seed: int) -> None:
    if isinstance(source, torch.Generator):
        source.manual_seed(seed)
    elif isinstance(source, numpy.random.Generator):
        source.bit_generator.state = type(source.bit_generator)(seed).state
    else:
        source.seed(seed if isinstance(source, random.Random) else seed % 2**32)


def _restore(source: Source, state: Any) -> None:
    if isinstance(source, random.Random):
        source.setstate(state)
    elif isinstance(source, numpy.random.Generator):
        source.bit_generator.state = state
    else:
        source.set_state(state)


def generators_in(module: nn.Module) -> list[Source]:
    """Return the generators of random numbers that a module holds."""
    values = {id(reference.value): reference.value for reference in references(module)}
    return [value for value in values.values() if isinstance(value, _KINDS)]


def named_in_code(module: nn.Module) -> list[Source]:
    """Return the sources of random numbers, except torch's global one, that the code of a module names.

    All code that `forward` and hooks can reach is searched, so that sources that are rarely used are found too.
    """
    sources: dict[int, Source] = {}
    objects = [module, *(reference.value for reference in references(module))]
    for names, values, imported in [(set[str](), objects, set[str]()), *_code_of(objects)]:
        for value in values:
            owner = getattr(value, "__self__", None)  # of `from random import choice`
            sources |= {id(source): source for source in (value, owner) if isinstance(source, _KINDS)}
        modules = {value.__name__ for value in values if isinstance(value, types.ModuleType)} | imported
        if "random" in modules:
            sources[id(PYTHON)] = PYTHON
        if "numpy.random" in modules or ("numpy" in modules and "random" in names):
            sources[id(NUMPY)] = NUMPY
    known_ids = {id(torch.default_generator), *map(id, generators_in(module))}
    return [source for key, source in sources.items() if key not in known_ids]


def _code_of(objects: Sequence[Any]) -> Iterator[tuple[set[str], list[Any], set[str]]]:
    """Yield for each function that a call may run: its names, the values of the names, and the modules it imports."""
    kinds = {type(value): None for value in objects if _followed(type(value))}
    queue: list[types.FunctionType] = [value for value in objects if isinstance(value, types.FunctionType)]
    queue += _methods(kinds, {"forward", "__call__"})
    visited: set[types.CodeType] = set()
    names_visited: set[str] = set()
    while queue:
        function = queue.pop()
        if function.__code__ in visited or not _followed(function):
            continue
        visited.add(function.__code__)
        names, imported = set[str](), set[str]()
        for code in _nested(function.__code__):
            names |= {*code.co_names, *code.co_freevars}
            imported |= {step.argval for step in dis.get_instructions(code) if step.opname == "IMPORT_NAME"}
        values = [function.__globals__[name] for name in names if name in function.__globals__]
        for cell in function.__closure__ or ():
            values += [] if cell == types.CellType() else [cell.cell_contents]
        yield names, values, imported
        for value in values:
            if isinstance(value, types.FunctionType):
                queue.append(value)
            elif isinstance(value, types.ModuleType) and _followed(value):
                members = (getattr(value, name, None) for name in names)
                queue += [member for member in members if isinstance(member, types.FunctionType)]
            else:
                kind = value if isinstance(value, type) else type(value)
                if kind not in kinds and _followed(kind):
                    kinds[kind] = None
                    skipped_names = set() if issubclass(kind, nn.Module) else {"__init__"}
                    queue += _methods({kind: None}, names_visited | skipped_names | {"__call__", "forward"})
        names_visited |= names
        queue += _methods(kinds, names)


def _methods(kinds: dict[type, None], names: set[str]) -> Iterator[types.FunctionType]:
    """Yield the methods with the given names of some classes, including properties, static and class methods."""
    for kind in kinds:
        for name in names:
            member = inspect.getattr_static(kind, name, None)
            member = member.fget if isinstance(member, property) else getattr(member, "__func__", member)
            member = inspect.unwrap(member) if callable(member) else member
            if isinstance(member, types.FunctionType):
                yield member


def _nested(code: types.CodeType) -> Iterator[types.CodeType]:
    yield code
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            yield from _nested(constant)


def _followed(value: Any) -> bool:
    """Whether the code of a class, function or module is searched: not that of torch, NumPy and Python itself."""
    name = getattr(value, "__module__", None) or getattr(value, "__name__", "")
    root = str(name).partition(".")[0]
    return root == "__main__" or root not in _NOT_FOLLOWED
