"""An optimizer of torch whose parameters and state are replaced before each step, which makes the step pure."""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any

import torch
from torch import Tensor, nn

from detente.errors import InvalidValue, unknown
from detente.modules.layout import Layout
from detente.schedules.base import Schedule, value

Kind = Callable[..., torch.optim.Optimizer]
Memory = dict[str, Tensor]

TRIAL_STEPS = 3  # an optimizer's state has all its entries after so many steps
STRUCTURE = "structure"  # the entry of the memory that says which entries of the state exist
CONSTANTS = (str, type(None), torch.dtype, torch.device)  # what else the state may hold, as long as it stays the same
DIMENSIONS = re.compile(r"ndim\s*(<=|>=|==|<|>)\s*(\d+)")
COMPARISONS = {"<": operator.lt, "<=": operator.le, "==": operator.eq, ">=": operator.ge, ">": operator.gt}


@dataclass(frozen=True)
class Setup:
    """What an optimizer is constructed from.

    Args:
        kind: its class.
        settings: the arguments of its constructor, numbers or schedules.
        groups: settings of some parameters, by pattern.
        layout: names and shapes of the parameters.
    """

    kind: Kind
    settings: Mapping[str, Any]
    groups: Mapping[str, Mapping[str, Any]]
    layout: Layout


class Constructed:
    """An optimizer of torch with the pieces of a vector as its parameters.

    Args:
        setup: the optimizer's class and settings.
        vector: the parameters, (n,).
        moving: arguments of the optimizer's constructor that its steps change.
    """

    def __init__(self, setup: Setup, vector: Tensor, moving: frozenset[str] = frozenset()) -> None:
        layout = setup.layout
        self.layout, self.name = layout, getattr(setup.kind, "__qualname__", repr(setup.kind))
        self.parameters = [nn.Parameter(piece) for piece in layout.unflatten(vector).values()]
        self.names: dict[Tensor, str] = dict(zip(self.parameters, layout.names, strict=True))
        groups = _groups(setup)
        parts = [{**_at(group, 0), "params": [self.parameters[i] for i in indices]} for group, indices in groups]
        try:
            optimizer = setup.kind(parts, **_at(setup.settings, 0))  # pyright: ignore[reportCallIssue]
        except Exception as error:  # an optimizer of another package may raise anything
            raise self.refusal("settings and parameters that it accepts", one_line(error)) from error
        if not isinstance(optimizer, torch.optim.Optimizer):
            raise self.refusal("a subclass of torch.optim.Optimizer")
        for key in {key for group, _ in groups for key in group} - set(optimizer.defaults):
            raise unknown("groups", key, optimizer.defaults)
        self.optimizer = optimizer
        self.scheduled = [
            (part, key, setting)
            for part, (group, _) in zip(optimizer.param_groups, groups, strict=True)
            for key, setting in {**setup.settings, **group}.items()
            if _has_schedule(setting)
        ]
        # A group's numbers that are not arguments of the constructor belong to the state, like the d of Prodigy.
        self.fixed = {"params", "param_names", *optimizer.defaults} - moving | {key for _, key, _ in self.scheduled}

    def refusal(self, allowed: str, hint: str = "") -> InvalidValue:
        """Return the error for this optimizer."""
        return InvalidValue("optimizer", self.name, allowed, hint)

    def state(self) -> dict[str, Any]:
        """Return the state of every parameter by name, of the optimizer as a whole, and of its groups."""
        state: dict[Any, Any] = self.optimizer.state
        tree = {self.names[key] if isinstance(key, Tensor) else str(key): entries for key, entries in state.items()}
        for index, group in enumerate(self.optimizer.param_groups):
            varying = {key: entry for key, entry in group.items() if key not in self.fixed and _varies(entry)}
            tree |= {f"group {index}": varying} if varying else {}
        return tree

    def set_state(self, tree: dict[str, Any]) -> None:
        """Replace the state by one that `state` returned."""
        parameters: dict[str, Any] = {name: parameter for parameter, name in self.names.items()}
        state_entries = {key: entries for key, entries in tree.items() if not key.startswith("group ")}
        self.optimizer.state.clear()
        self.optimizer.state.update({parameters.get(key, key): entries for key, entries in state_entries.items()})
        for index, group in enumerate(self.optimizer.param_groups):
            group.update(tree.get(f"group {index}", {}))

    def set_gradients(self, direction: Tensor) -> None:
        """Use the pieces of a direction, (n,), as gradients."""
        for parameter, piece in zip(self.parameters, self.layout.unflatten(direction).values(), strict=True):
            parameter.grad = piece


class Running(Constructed):
    """An optimizer of torch that can take any step: its parameters, gradients and state are replaced before each."""

    def __init__(self, setup: Setup, vector: Tensor) -> None:
        self.setup = setup
        states, moving = _trial(setup, vector, frozenset())
        if moving:
            states, _ = _trial(setup, vector, moving)
        super().__init__(setup, vector.clone(), moving)
        self.moving = moving
        self.last: Any = (None, None)  # the vector and the memory that the last step returned
        self.arrangements: list[dict[str, Any]] = []
        self.kinds: list[dict[str, object]] = []
        examples: dict[str, Any] = {}
        for state in states:
            leaves = dict(_leaves(state))
            kinds = _kinds(leaves)
            for path, leaf in leaves.items():
                if not _varies(leaf) and not isinstance(leaf, CONSTANTS):
                    allowed = "an optimizer whose state consists of tensors and numbers"
                    raise self.refusal(allowed, f"{path} is of the type {type(leaf).__name__}")
                if isinstance(leaf, Tensor) and leaf.shape != getattr(examples.get(path, leaf), "shape", None):
                    raise self.refusal("an optimizer whose state keeps its shapes")
            if kinds not in self.kinds:
                self.arrangements.append(state)
                self.kinds.append(kinds)
            examples |= {path: leaf for path, leaf in leaves.items() if _varies(leaf)}
        self.indices = [torch.tensor(index) for index in range(len(self.kinds))]
        self.padding = {path: torch.zeros_like(_as_tensor(leaf)) for path, leaf in examples.items()}

    def memory(self, state: dict[str, Any]) -> Memory:
        """Return a state as a flat dictionary of tensors with the same entries at every step.

        Raises:
            InvalidValue: the state has entries that it did not have in the trial steps.
        """
        leaves = dict(_leaves(state))
        kinds = _kinds(leaves)
        if kinds not in self.kinds:
            raise self.refusal(f"an optimizer whose state has the same entries after {TRIAL_STEPS} steps and later")
        tensors = {
            path: _as_tensor(leaves[path]) if path in leaves and _varies(leaves[path]) else zeros.clone()
            for path, zeros in self.padding.items()
        }
        return {STRUCTURE: self.indices[self.kinds.index(kinds)], **tensors}

    def step(self, vector: Tensor, direction: Tensor, memory: Memory, t: Tensor) -> tuple[Tensor, Memory]:
        """Return the vector and the memory after one step; both are overwritten."""
        last_vector, last_memory = self.last
        self.last = None, None
        if vector is not last_vector:
            for parameter, piece in zip(self.parameters, self.layout.unflatten(vector).values(), strict=True):
                parameter.data = piece
        if memory is not last_memory:  # otherwise its tensors are the optimizer's state already
            self.set_state(self._arranged(self.arrangements[int(memory[STRUCTURE])], memory))
        before = [parameter.data_ptr() for parameter in self.parameters]
        overwrites = not type(self.optimizer).__module__.startswith("torch.optim.")  # others may overwrite gradients
        self.set_gradients(direction.clone() if overwrites else direction)
        for group, key, setting in self.scheduled:
            group[key] = _at(setting, t)
        self.optimizer.step()
        for parameter in self.parameters:
            parameter.grad = None
        if [parameter.data_ptr() for parameter in self.parameters] != before:  # the optimizer has replaced them
            return torch.cat([parameter.data.reshape(-1) for parameter in self.parameters]), self.memory(self.state())
        self.last = vector, self.memory(self.state())
        return self.last

    def _arranged(self, example: Any, memory: Memory, path: str = "") -> Any:
        """Return the entries of a memory in the arrangement of an example."""
        if isinstance(example, dict):
            return {key: self._arranged(entry, memory, _inside(path, key)) for key, entry in example.items()}
        if isinstance(example, list | tuple):
            return type(example)(self._arranged(entry, memory, _inside(path, i)) for i, entry in enumerate(example))
        if isinstance(example, Tensor):
            return memory[path].to(example.device)
        return type(example)(memory[path].item()) if _varies(example) else example


def _trial(setup: Setup, vector: Tensor, moving: frozenset[str]) -> tuple[list[dict[str, Any]], frozenset[str]]:
    """Take the first steps of an optimizer, along a fixed direction.

    Returns:
        Copies of the states before and after each step, and the arguments of the constructor that a step changed.
    """
    trial = Constructed(setup, vector.clone(), moving)
    before = [dict(group) for group in trial.optimizer.param_groups]
    states = [_copied(trial.state())]
    for _ in range(TRIAL_STEPS):
        trial.set_gradients(torch.linspace(-1.0, 1.0, len(vector), dtype=vector.dtype, device=vector.device))
        try:
            with torch.random.fork_rng(devices=[]):
                trial.optimizer.step()
        except Exception as error:  # an optimizer of another package may raise anything
            allowed = "an optimizer that takes dense gradients and needs no closure"
            raise trial.refusal(allowed, one_line(error)) from error
        states.append(_copied(trial.state()))
    changed = {
        key
        for old, new in zip(before, trial.optimizer.param_groups, strict=True)
        for key in old
        if isinstance(old[key], int | float) and old[key] != new[key]
    }
    return states, frozenset(changed)


def _groups(setup: Setup) -> list[tuple[dict[str, Any], list[int]]]:
    """Return the settings of each group of parameters, and the parameters' positions in the layout."""
    groups: dict[tuple[str, ...], list[int]] = {}
    for index, piece in enumerate(pieces(setup.layout)):
        groups.setdefault(tuple(pattern for pattern in setup.groups if matches(pattern, *piece)), []).append(index)
    return [
        ({key: setting for pattern in patterns for key, setting in setup.groups[pattern].items()}, indices)
        for patterns, indices in groups.items()
    ]


def pieces(layout: Layout) -> list[tuple[str, int]]:
    """Return the name and the number of dimensions of each parameter."""
    return [(name, len(shape)) for name, shape in zip(layout.names, layout.shapes, strict=True)]


def matches(pattern: str, name: str, dimensions: int) -> bool:
    """Return whether a pattern matches a parameter, by its name or its number of dimensions ("ndim<2")."""
    if condition := DIMENSIONS.fullmatch(pattern):
        return COMPARISONS[condition[1]](dimensions, int(condition[2]))
    return fnmatchcase(name, pattern)


def _leaves(tree: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """Yield every entry of nested dictionaries and lists with its path."""
    if isinstance(tree, dict):
        for key, entry in tree.items():
            yield from _leaves(entry, _inside(path, key))
    elif isinstance(tree, list | tuple):
        for index, entry in enumerate(tree):
            yield from _leaves(entry, _inside(path, index))
    else:
        yield path, tree


def _inside(path: str, key: object) -> str:
    return f"{path}/{key}" if path else str(key)


def _kinds(leaves: dict[str, Any]) -> dict[str, object]:
    """Return the type of each entry, or the entry itself if it is neither a tensor nor a number."""
    return {path: type(leaf) if _varies(leaf) else leaf for path, leaf in leaves.items()}


def _copied(tree: Any) -> Any:
    if isinstance(tree, dict):
        return {key: _copied(entry) for key, entry in tree.items()}
    if isinstance(tree, list | tuple):
        return type(tree)(_copied(entry) for entry in tree)
    return tree.clone() if isinstance(tree, Tensor) else tree


def _varies(entry: Any) -> bool:
    """Whether an entry of the state is a tensor or a number, which may be another one after the next step."""
    return isinstance(entry, Tensor | int | float)


def _as_tensor(entry: Any) -> Tensor:
    if isinstance(entry, Tensor):
        return entry
    return torch.tensor(entry, dtype=torch.float64 if isinstance(entry, float) else None)


def _at(setting: Any, t: Any) -> Any:
    """Return a setting with every schedule in it replaced by its value at step `t`, a number."""
    if isinstance(setting, Schedule):
        return float(value(setting, torch.as_tensor(t), torch.float64))
    if isinstance(setting, Mapping):
        return {key: _at(part, t) for key, part in setting.items()}
    return type(setting)(_at(part, t) for part in setting) if type(setting) in (list, tuple) else setting


def _has_schedule(setting: Any) -> bool:
    return isinstance(setting, Schedule) or (type(setting) in (list, tuple) and any(map(_has_schedule, setting)))


def one_line(error: Exception) -> str:
    """Return an error's message in one line of at most 300 characters."""
    return " ".join(str(error).split())[:300] or type(error).__name__
