"""Any optimizer of `torch.optim`, or with its interface."""

from __future__ import annotations

import inspect
import operator
import pkgutil
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any, Self

import torch
from torch import Tensor, nn

from detente.errors import InvalidValue, require, unknown
from detente.modules.layout import Layout
from detente.optimizers.base import Optimizer
from detente.schedules.base import Schedule, has_schedule, value
from detente.schedules.text import from_text

Kind = Callable[..., torch.optim.Optimizer]
Memory = dict[str, Tensor]

TRIAL_STEPS = 3  # an optimizer's state has all its entries after so many steps
STRUCTURE = "structure"  # the entry of the memory that says which entries of the state exist
CONSTANTS = (str, type(None), torch.dtype, torch.device)  # what else the state may hold, as long as it stays the same
DIMENSIONS = re.compile(r"ndim\s*(<=|>=|==|<|>)\s*(\d+)")
COMPARISONS = {"<": operator.lt, "<=": operator.le, "==": operator.eq, ">=": operator.ge, ">": operator.gt}


@dataclass(frozen=True, init=False)
class Torch(Optimizer):
    """A `torch.optim.Optimizer`, of PyTorch or of another package: x and its state after `optimizer.step()`.

    The optimizer gets the parameters of the player's module, with names and shapes, as views of the player's vector; a
    plain vector is one parameter, "vector". The entries of its `state_dict` that steps change are the memory, numbers
    such as `step` included, so a resumed run continues exactly. Any setting may be a schedule. Steps run eagerly.

    Args:
        kind: the optimizer's class, its name in `torch.optim` ("AdamW"), or an import path ("my_package.Lion").
        groups: settings of some parameters by a pattern of their names, such as `{"*.bias": {"weight_decay": 0.0}}`,
            or of their number of dimensions, such as `{"ndim<2": {"weight_decay": 0.0}}` for biases and the weights of
            normalization layers. If several patterns match a parameter, the last one wins.
        settings: all other keywords are passed to the optimizer, such as `lr=1e-4`. A schedule may be text, such as
            `lr="cosine(1e-4, 0, 10000)"`.

    Raises:
        InvalidValue: the optimizer does not accept its settings, a pattern matches no parameter, or the optimizer needs
            a closure (LBFGS) or sparse gradients (SparseAdam).

    Source: `torch.optim`.
    """

    traceable = False

    kind: str | Kind
    groups: Mapping[str, Mapping[str, Any]]
    settings: Mapping[str, Any]

    if TYPE_CHECKING:  # set for a player; no settings, so no fields of the dataclass
        _layout: Layout | None
        _running: dict[Any, Any]

    def __init__(
        self, kind: Kind | str = "AdamW", groups: Mapping[str, Mapping[str, Any]] | None = None, **settings: Any
    ) -> None:
        given = {"groups": from_text(groups or {}), "settings": from_text(settings)}
        self._set(kind=_resolved(kind), **given, _layout=None, _running={})
        valid = isinstance(self.groups, Mapping) and all(isinstance(group, Mapping) for group in self.groups.values())
        require(valid, "groups", groups, 'settings by pattern, such as {"*.bias": {"weight_decay": 0.0}}')
        _Running(self, torch.ones(4), Layout(("weight",), ((2, 2),)))

    def _set(self, **attributes: Any) -> None:
        for name, attribute in attributes.items():
            object.__setattr__(self, name, attribute)

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_running": {}}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self._set(**state)

    def check(self, layouts: Mapping[str, Layout]) -> None:
        """Raise `InvalidValue` if a pattern matches no parameter of any of the players."""
        pieces = [piece for layout in layouts.values() for piece in _pieces(layout)] or [("vector", 1)]
        for pattern in self.groups:
            allowed = f"a pattern that matches one of {', '.join(name for name, _ in pieces)}"
            require(any(_matches(pattern, *piece) for piece in pieces), "groups", pattern, allowed, "Or e.g. 'ndim<2'")

    def for_layout(self, layout: Layout) -> Self:
        """Return the optimizer of parameters with these names and shapes."""
        if layout not in self._running:
            bound = object.__new__(type(self))
            bound._set(**{**self.__dict__, "_layout": layout, "_running": {}})
            self._running[layout] = bound
        return self._running[layout]

    def initial(self, vector: Tensor) -> Memory:
        """Return the optimizer's state before its first step; entries that do not exist yet are zero."""
        running = self._optimizer(vector)
        fresh = _Constructed(self, vector.clone(), self._layout_of(vector), running.moving)
        return running.memory(fresh.state())

    def __call__(
        self, vector: Tensor, direction: Tensor, memory: Memory, t: Tensor, noise: Tensor | None = None
    ) -> tuple[Tensor, Memory]:
        """Return the parameters after `optimizer.step()`, and its state."""
        copies = {name: tensor.clone() for name, tensor in memory.items()}
        return self.step_in_place(vector.clone(), direction, copies, t)

    def step_in_place(
        self, vector: Tensor, direction: Tensor, memory: Memory, t: Tensor, noise: Tensor | None = None
    ) -> tuple[Tensor, Memory]:
        """Return the same as a call, but overwrite `vector` and `memory`."""
        return self._optimizer(vector).step(vector, direction, memory, t)

    def _layout_of(self, vector: Tensor) -> Layout:
        return self._layout or Layout(("vector",), (tuple(vector.shape),))

    def _optimizer(self, vector: Tensor) -> _Running:
        """Return the optimizer for such vectors, which is constructed once."""
        key = (vector.shape, vector.dtype, vector.device)
        if key not in self._running:
            self._running[key] = _Running(self, vector, self._layout_of(vector))
        return self._running[key]


class _Constructed:
    """An optimizer of torch with the pieces of a vector as its parameters.

    Args:
        member: the optimizer's class and settings.
        vector: the parameters, (n,).
        layout: their names and shapes.
        moving: arguments of the optimizer's constructor that its steps change.
    """

    def __init__(self, member: Torch, vector: Tensor, layout: Layout, moving: frozenset[str] = frozenset()) -> None:
        self.layout, self.name = layout, getattr(member.kind, "__qualname__", repr(member.kind))
        self.parameters = [nn.Parameter(piece) for piece in layout.unflatten(vector).values()]
        self.names: dict[Tensor, str] = dict(zip(self.parameters, layout.names, strict=True))
        groups = _groups(member, layout)
        parts = [{**_at(group, 0), "params": [self.parameters[i] for i in indices]} for group, indices in groups]
        try:
            optimizer = member.kind(parts, **_at(member.settings, 0))  # pyright: ignore[reportCallIssue]
        except Exception as error:  # an optimizer of another package may raise anything
            raise self.refusal("settings and parameters that it accepts", _line(error)) from error
        if not isinstance(optimizer, torch.optim.Optimizer):
            raise self.refusal("a subclass of torch.optim.Optimizer")
        for key in {key for group, _ in groups for key in group} - set(optimizer.defaults):
            raise unknown("groups", key, optimizer.defaults)
        self.optimizer = optimizer
        self.scheduled = [
            (part, key, setting)
            for part, (group, _) in zip(optimizer.param_groups, groups, strict=True)
            for key, setting in {**member.settings, **group}.items()
            if has_schedule(setting)
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
            own = {key: entry for key, entry in group.items() if key not in self.fixed and _varies(entry)}
            tree |= {f"group {index}": own} if own else {}
        return tree

    def set_state(self, tree: dict[str, Any]) -> None:
        """Replace the state by one that `state` returned."""
        state, whole = self.optimizer.state, [key for key in self.optimizer.state if not isinstance(key, Tensor)]
        state.clear()
        state.update({parameter: tree[name] for parameter, name in self.names.items() if name in tree})
        state.update({key: tree[str(key)] for key in whole if str(key) in tree})
        for index, group in enumerate(self.optimizer.param_groups):
            group.update(tree.get(f"group {index}", {}))

    def set_gradients(self, direction: Tensor) -> None:
        """Use the pieces of a direction, (n,), as gradients."""
        for parameter, piece in zip(self.parameters, self.layout.unflatten(direction).values(), strict=True):
            parameter.grad = piece


class _Running(_Constructed):
    """An optimizer of torch that can take any step: its parameters, gradients and state are replaced before each."""

    def __init__(self, member: Torch, vector: Tensor, layout: Layout) -> None:
        states, moving = _trial(member, vector, layout, frozenset())
        if moving:
            states, _ = _trial(member, vector, layout, moving)
        super().__init__(member, vector.clone(), layout, moving)
        self.moving = moving
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
        pieces = self.layout.unflatten(vector).values()
        for parameter, piece in zip(self.parameters, pieces, strict=True):
            parameter.data = piece
        self.set_state(self._arranged(self.arrangements[int(memory[STRUCTURE])], memory))
        overwrites = not type(self.optimizer).__module__.startswith("torch.optim.")  # others may overwrite gradients
        self.set_gradients(direction.clone() if overwrites else direction)
        for group, key, setting in self.scheduled:
            group[key] = _at(setting, t)
        self.optimizer.step()
        for parameter in self.parameters:
            parameter.grad = None
        moved = [parameter.data for parameter in self.parameters]
        if any(new.data_ptr() != piece.data_ptr() for new, piece in zip(moved, pieces, strict=True)):
            vector = torch.cat([piece.reshape(-1) for piece in moved])  # the optimizer has replaced its parameters
        return vector, self.memory(self.state())

    def _arranged(self, example: Any, memory: Memory, path: str = "") -> Any:
        """Return the entries of a memory in the arrangement of an example."""
        if isinstance(example, dict):
            return {key: self._arranged(entry, memory, _inside(path, key)) for key, entry in example.items()}
        if isinstance(example, list | tuple):
            return type(example)(self._arranged(entry, memory, _inside(path, i)) for i, entry in enumerate(example))
        if isinstance(example, Tensor):
            return memory[path].to(example.device)
        return type(example)(memory[path].item()) if _varies(example) else example


def _trial(
    member: Torch, vector: Tensor, layout: Layout, moving: frozenset[str]
) -> tuple[list[dict[str, Any]], frozenset[str]]:
    """Take the first steps of an optimizer, along a fixed direction.

    Returns:
        Copies of the states before and after each step, and the arguments of the constructor that a step changed.
    """
    trial = _Constructed(member, vector.clone(), layout, moving)
    before = [dict(group) for group in trial.optimizer.param_groups]
    states = [_copied(trial.state())]
    for _ in range(TRIAL_STEPS):
        trial.set_gradients(torch.linspace(-1.0, 1.0, len(vector), dtype=vector.dtype, device=vector.device))
        try:
            with torch.random.fork_rng(devices=[]):
                trial.optimizer.step()
        except Exception as error:  # an optimizer of another package may raise anything
            allowed = "an optimizer that takes dense gradients and needs no closure"
            raise trial.refusal(allowed, _line(error)) from error
        states.append(_copied(trial.state()))
    changed = {
        key
        for old, new in zip(before, trial.optimizer.param_groups, strict=True)
        for key in old
        if isinstance(old[key], int | float) and old[key] != new[key]
    }
    return states, frozenset(changed)


def _groups(member: Torch, layout: Layout) -> list[tuple[dict[str, Any], list[int]]]:
    """Return the settings of each group of parameters, and the parameters' positions in the layout."""
    groups: dict[tuple[str, ...], list[int]] = {}
    for index, piece in enumerate(_pieces(layout)):
        groups.setdefault(tuple(pattern for pattern in member.groups if _matches(pattern, *piece)), []).append(index)
    return [
        ({key: setting for pattern in patterns for key, setting in member.groups[pattern].items()}, indices)
        for patterns, indices in groups.items()
    ]


def _pieces(layout: Layout) -> list[tuple[str, int]]:
    """Return the name and the number of dimensions of each parameter."""
    return [(name, len(shape)) for name, shape in zip(layout.names, layout.shapes, strict=True)]


def _matches(pattern: str, name: str, dimensions: int) -> bool:
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


def _resolved(kind: Kind | str) -> Kind:
    """Return the optimizer's class for its name in `torch.optim` or its import path.

    Raises:
        InvalidValue: there is no such optimizer.
    """
    found: Any = kind
    if isinstance(kind, str) and "." not in kind:
        known: dict[str, Any] = {name: item for name, item in vars(torch.optim).items() if _is_optimizer(item)}
        if kind not in known:
            raise unknown("kind", kind, known)
        found = known[kind]
    elif isinstance(kind, str):
        try:
            found = pkgutil.resolve_name(kind)
        except Exception as error:  # a user's own module may raise anything
            allowed = "MODULE.NAME of a torch.optim.Optimizer that can be imported"
            raise InvalidValue("kind", kind, allowed, _line(error)) from error
    valid = _is_optimizer(found) if inspect.isclass(found) else callable(found)
    require(valid, "kind", kind, "a subclass of torch.optim.Optimizer, or its name or import path")
    return found  # pyright: ignore[reportReturnType]


def _is_optimizer(item: object) -> bool:
    return inspect.isclass(item) and issubclass(item, torch.optim.Optimizer) and item is not torch.optim.Optimizer


def _line(error: Exception) -> str:
    return " ".join(str(error).split())[:300] or type(error).__name__
