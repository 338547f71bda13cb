"""The players' modules as pure functions, for one evaluation of a game's losses."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import partial
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves

from detente.autodiff import input_gradient
from detente.autodiff.engines import is_transformed
from detente.game import Buffers, EvaluationSettings, Vectors
from detente.modules.calling import call_part
from detente.modules.functional_call import EMPTY, Bound, bound, part_of
from detente.modules.layout import Layout


class Vector(nn.Module):
    """A player without a network: a tensor of numbers, such as Lagrange multipliers."""

    def __init__(self, value: Tensor) -> None:
        super().__init__()
        self.value = nn.Parameter(value.detach().clone())

    def forward(self) -> Tensor:
        """Return the numbers."""
        return self.value


class Call(NamedTuple):
    """A call of a module, or of its method or submodule `part`."""

    part: str
    inputs: tuple[Any, ...]
    keywords: Mapping[str, Any]


class Net:
    """The players of a game at a point: `net.<player>(…)` calls a player's module with its parameters there.

    Calls are pure: parameters come from the players' vectors, and buffers (BatchNorm's statistics, a codebook) pass
    from call to call and end up in `buffers`. A player may be called any number of times, in any order.

    Args:
        modules: each player's module.
        layouts: the layout of each player's vector.
        vectors: each player's parameters, (n_i,).
        buffers: the modules' buffers, and the game's own memory under "memory".
        settings: how modules are called.
        frozen: modules that are called but not trained, by name.
        members: players within a player, by name: the player, and the path of the member's module in it.
        record: a function that gets each call before it is made.
        change: a function that replaces a call's output; called with the player, the call and the output.
        draws: whether calls may draw random numbers, so that no two of them are the same.
    """

    def __init__(
        self,
        modules: Mapping[str, nn.Module],
        layouts: Mapping[str, Layout],
        vectors: Vectors,
        buffers: Buffers,
        settings: EvaluationSettings,
        frozen: Mapping[str, Any] = EMPTY,
        members: Mapping[str, tuple[str, str]] = EMPTY,
        record: Callable[[str, Call], None] | None = None,
        change: Callable[[str, Call, Any], Any] | None = None,
        draws: bool = False,
    ) -> None:
        self._modules, self._layouts, self._vectors, self._settings = modules, layouts, vectors, settings
        self._cache, self._draws = settings.forward_cache, draws
        if self._cache is not None:
            self._settings = settings.without_cache
        self._initial_buffers, self._frozen, self._members = buffers, frozen, members
        self._record, self._change = record, change
        self._views: dict[str, dict[str, Tensor]] = {}
        self._bound: dict[str, Bound | None] = {}
        self._holds = False
        self._stored: dict[tuple, tuple[tuple[Any, ...], Any]] = {}
        self.buffers = dict(buffers)
        self.memory = dict(buffers.get("memory", {}))

    def __getattr__(self, name: str) -> Any:
        if name in self._modules:
            module = self._modules[name]
            return PlayerCall(self, name) if not isinstance(module, Vector) else self.parameters(name)["value"]
        if name in self._members:
            player, part = self._members[name]
            vector = isinstance(part_of(self._modules[player], part), Vector)
            return self.parameters(player)[f"{part}.value"] if vector else PlayerCall(self, player, part)
        if name in self._frozen:
            return self._frozen[name]
        names = ", ".join((*self._modules, *self._members, *self._frozen, "memory"))
        raise AttributeError(f"net.{name}: there is no such player or frozen module; there are {names}")

    def __getitem__(self, name: str) -> Any:
        return getattr(self, name)

    def parameters(self, player: str) -> dict[str, Tensor]:
        """Return a player's parameters by name, as views of its vector; all calls of an evaluation share them."""
        views = self._views.get(player)
        if views is None:
            views = self._views[player] = self._layouts[player].unflatten(self._vectors[player])
        return views

    def call(self, player: str, call: Call, update: bool = True) -> Any:
        """Return the output of a call of a player; `update` states whether its buffers change."""
        return PlayerCall(self, player, call.part, update)(*call.inputs, **call.keywords)

    def _keep(self, player: str, part: str, inputs: tuple[Any, ...], outputs: Any) -> None:
        """Keep the outputs of a gradient's call for later calls with the same inputs, if these would be the same."""
        watched = self._record is not None or self._change is not None  # a recorder needs every call
        if not (watched or self._draws or self.buffers[player] or is_transformed(self._vectors[player])):
            self._stored[player, part, *map(id, inputs)] = inputs, outputs

    def _bind(self, player: str, buffers: dict[str, Tensor]) -> Bound | None:
        """Return a player's module, bound to its parameters until the exit; None if it cannot hold them."""
        if self._holds and player not in self._bound:
            self._bound[player] = bound(self._modules[player], self.parameters(player), buffers)
        return self._bound.get(player)

    def __enter__(self) -> Net:
        """Let the modules hold the players' parameters until the exit, which saves time if they are called again."""
        self._holds = self._settings.precision == "float32" and not self._settings.channels_last
        return self

    def __exit__(self, *error: object) -> None:
        self._holds = False
        for module in self._bound.values():
            if module is not None:
                module.release()
        self._bound.clear()

    def _views_of(self, player: str, vector: Tensor) -> dict[str, Tensor]:
        return self.parameters(player) if vector is self._vectors[player] else self._layouts[player].unflatten(vector)


def _leaves(inputs: tuple[Any, ...], keywords: Mapping[str, Any]) -> Iterable[Any]:
    """Return the inputs of a call, one by one; most calls have tensors only, which are found faster."""
    if not keywords and all([type(x) is Tensor for x in inputs]):
        return inputs
    return tree_leaves((inputs, dict(keywords)))


class PlayerCall:
    """A player's module, or a part of it, as a pure function at a point.

    Methods and submodules are called in the same way: `net.autoencoder.encode(x)`, `net.judges[0](x)`. An attribute
    that is a parameter or a buffer is the tensor at this point.
    """

    def __init__(self, net: Net, player: str, part: str = "", update: bool = True) -> None:
        self._net, self._player, self._part, self._update = net, player, part, update

    def __call__(self, *inputs: Any, **keywords: Any) -> Any:
        """Return the module's output: tensors, also nested in tuples, lists and dictionaries."""
        net, player, part, entry = self._net, self._player, self._part, None
        if net._record is not None:
            net._record(player, Call(part, inputs, keywords))
        if net._stored and not keywords:
            stored = net._stored.get((player, part, *map(id, inputs)))
            if stored is not None:
                return stored[1]
        buffers = (net.buffers if self._update else net._initial_buffers)[player]
        vector, settings = net._vectors[player], net._settings
        if net._cache is not None:
            entry = net._cache.entry(vector, part, (*buffers.values(), *_leaves(inputs, keywords)))
        if entry is not None and entry.result is not None:
            output, buffers = entry.result
        else:
            module, layout = net._modules[player], net._layouts[player]
            binding = net._bind(player, buffers)
            if binding is not None:
                binding.hold(buffers)
                output = (part_of(module, part) if part else module)(*inputs, **keywords)
                buffers = binding.held(buffers) if buffers else buffers
            else:
                views = partial(net._views_of, player)
                output, buffers = call_part(module, part, layout, vector, views, buffers, inputs, keywords, settings)
            if entry is not None:
                entry.result = output, buffers
        if self._update:
            net.buffers[player] = buffers
        return output if net._change is None else net._change(player, Call(part, inputs, keywords), output)

    @property
    def fixed(self) -> PlayerCall:
        """The same function, whose calls start from the buffers before the evaluation and do not change them."""
        return PlayerCall(self._net, self._player, self._part, update=False)

    def gradient(self, x: Tensor, *others: Any, **keywords: Any) -> Tensor:
        """Return the gradient of the sum of the outputs with respect to the first input, in the shape of x.

        For a discriminator whose outputs depend only on their own sample, these are the gradients of each sample's
        score, or of the sum of its scores. They can be differentiated again. Buffers do not change. A later call with
        the same inputs returns the outputs that were computed here, unless the module has buffers or draws random
        numbers; so compute a gradient before the scores at the same samples.
        """
        keep, net, player = torch.is_grad_enabled() and not keywords, self._net, self._player
        net._bind(player, net._initial_buffers[player])  # before functions are replaced, which slows each of them

        def scores(at: Tensor) -> Any:
            outputs = self.fixed(at, *others, **keywords)
            if keep:
                net._keep(player, self._part, (x, *others), outputs)
            return outputs

        return input_gradient(scores, x)

    def slope(self, x: Tensor, *others: Any, **keywords: Any) -> Tensor:
        """Return ‖∇ₓ D(x)‖₂ for each sample, (batch,): the Euclidean norm of `gradient`."""
        return self.gradient(x, *others, **keywords).flatten(1).norm(dim=1)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        path = f"{self._part}.{name}" if self._part else name
        parameters = self._net.parameters(self._player)
        if path in parameters:
            return parameters[path]
        if path in self._net.buffers[self._player]:
            return self._net.buffers[self._player][path]
        owner = self._module()
        value = getattr(owner, "_modules", {}).get(name)
        value = getattr(owner, name) if value is None else value
        if not isinstance(value, Tensor) and (isinstance(value, nn.Module) or callable(value)):
            return PlayerCall(self._net, self._player, path, self._update)
        # A tied parameter, or what a property computes, such as a parametrized weight, is read during a call.
        if isinstance(value, Tensor) and name in getattr(owner, "_parameters", {}):
            return self._part_call("__getattr__")(name)
        if isinstance(inspect.getattr_static(type(owner), name, None), property):
            return self._part_call("__getattribute__")(name)
        return value

    def _part_call(self, name: str) -> PlayerCall:
        path = f"{self._part}.{name}" if self._part else name
        return PlayerCall(self._net, self._player, path, self._update)

    def __getitem__(self, key: int | str) -> PlayerCall:
        module = self._module()
        if isinstance(key, int):
            key = list(module._modules or module._parameters)[key]
        return getattr(self, key)

    def __len__(self) -> int:
        return len(self._module()._modules)

    def __iter__(self) -> Iterator[Any]:
        names = list(self._module()._modules)
        return iter(names) if isinstance(self._module(), nn.ModuleDict) else iter([self[name] for name in names])

    def keys(self) -> list[str]:
        """Return the names of the modules of a dictionary."""
        return list(self._module()._modules)

    def values(self) -> list[PlayerCall]:
        """Return the modules of a dictionary."""
        return [self[name] for name in self.keys()]

    def items(self) -> list[tuple[str, PlayerCall]]:
        """Return names and modules of a dictionary."""
        return [(name, self[name]) for name in self.keys()]

    def _module(self) -> nn.Module:
        module = self._net._modules[self._player]
        return part_of(module, self._part) if self._part else module  # pyright: ignore[reportReturnType]


class DirectNet:
    """Stands in for `Net` while lazy layers are initialised: calls the modules themselves."""

    def __init__(
        self,
        modules: Mapping[str, nn.Module],
        members: Mapping[str, tuple[str, str]],
        frozen: Mapping[str, Any],
        memory: Mapping[str, Tensor],
    ) -> None:
        parts = {name: modules[player].get_submodule(part) for name, (player, part) in members.items()}
        self.memory = {name: tensor.clone() for name, tensor in memory.items()}
        self.__dict__ |= {
            name: part.value if isinstance(part, Vector) else _DirectPlayer(part)
            for name, part in {**modules, **parts}.items()
        }
        self.__dict__ |= frozen

    def __getitem__(self, name: str) -> Any:
        return self.__dict__[name]


class _DirectPlayer:
    """Stands in for `PlayerCall`: calls a module itself, without derivatives."""

    def __init__(self, module: Any) -> None:
        self._module = module

    def __call__(self, *inputs: Any, **keywords: Any) -> Any:
        return self._module(*inputs, **keywords)

    def gradient(self, x: Tensor, *others: Any, **keywords: Any) -> Tensor:
        self._module(x, *others, **keywords)
        return torch.zeros_like(x)

    def slope(self, x: Tensor, *others: Any, **keywords: Any) -> Tensor:
        return self.gradient(x, *others, **keywords).flatten(1).sum(1)

    @property
    def fixed(self) -> _DirectPlayer:
        return self

    def __getitem__(self, key: Any) -> _DirectPlayer:
        return _DirectPlayer(self._module[key])

    def __iter__(self) -> Iterator[Any]:
        return iter([item if isinstance(item, str) else _DirectPlayer(item) for item in self._module])

    def __len__(self) -> int:
        return len(self._module)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._module, name)
