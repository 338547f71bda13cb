"""The players of a game of networks, in every form in which a user gives them."""

from __future__ import annotations

import keyword
from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor, nn

from detente.errors import require
from detente.modules.calling import Build, copied
from detente.modules.net import Net, Vector


def require_names(names: Sequence[Any]) -> None:
    """Raise `InvalidValue` unless all names can be attributes of `Net`, and none occurs twice."""
    reserved = sorted({"buffers", "memory", *vars(Net)})
    for index, name in enumerate(names):
        valid = isinstance(name, str) and name.isidentifier() and not name.startswith("_")
        allowed = f"distinct names that are valid in Python, other than {', '.join(n for n in reserved if n[0] != '_')}"
        require(valid and name not in reserved and name not in names[:index], "players", name, allowed)
        require(not keyword.iskeyword(name), "players", name, allowed)


def frozen_copy(name: str, helper: Any) -> Any:
    """Return a frozen copy of a module in evaluation mode; another callable is returned unchanged."""
    helper = helper() if isinstance(helper, type) and issubclass(helper, nn.Module) else helper
    require(callable(helper), f"frozen.{name}", helper, "a module or a function")
    return copied(helper).eval().requires_grad_(False) if isinstance(helper, nn.Module) else helper


def members_of(players: Mapping[str, Any], sides: Mapping[str, Sequence[str]]) -> dict[str, tuple[str, str]]:
    """Return the side of each of its members, and the path of the member's module in it."""
    members: dict[str, tuple[str, str]] = {}
    for side, names in sides.items():
        names = (names,) if isinstance(names, str) else tuple(names)
        for name in names:
            allowed = f"each of {', '.join(players)} in one side"
            require(name in players and name not in members, f"sides.{side}", name, allowed)
            members[name] = (side, name)
    return members


def builders_of(players: Mapping[str, Any], sides: Mapping[str, Sequence[str]]) -> dict[str, Build]:
    """Return the builder of each player that moves: the sides, and the players in none."""
    grouped: dict[str, Any] = {side: {name: players[name] for name in names} for side, names in sides.items()}
    inside = {name for names in sides.values() for name in names}
    grouped |= {name: player for name, player in players.items() if name not in inside}
    return {name: builder_of(name, player) for name, player in grouped.items()}


def builder_of(name: str, player: Any) -> Build:
    """Return a player as a module or a factory.

    Raises:
        InvalidValue: `Networks` does not accept it; `name` is the field in the message.
    """
    if isinstance(player, Tensor):
        require(player.is_floating_point(), name, str(player.dtype), "a floating-point tensor")
        return Vector(player)
    if isinstance(player, Mapping | list | tuple) and not isinstance(player, nn.Module):
        items = dict(player) if isinstance(player, Mapping) else dict(enumerate(player))
        require(len(items) > 0, name, player, "at least one module")
        parts = {str(key): builder_of(f"{name}.{key}", item) for key, item in items.items()}
        contain = nn.ModuleDict if isinstance(player, Mapping) else _module_list
        modules = {key: part for key, part in parts.items() if isinstance(part, nn.Module)}
        if len(modules) == len(parts):
            return contain(modules)
        return lambda: contain({key: copied(p) if isinstance(p, nn.Module) else p() for key, p in parts.items()})
    require(callable(player), name, player, "a module, a function that returns one, a list or dictionary, or a tensor")
    return player


def _module_list(modules: Mapping[str, nn.Module]) -> nn.ModuleList:
    return nn.ModuleList(modules.values())
