"""The losses of a game of networks as named terms, as a user's function returns them."""

from __future__ import annotations

import inspect
import operator
from collections.abc import Callable, Mapping
from functools import reduce
from typing import Any

from torch import Tensor

from detente.errors import InvalidValue, require

Terms = Tensor | float | Mapping[str, Any] | Callable[[], Any]
Losses = Callable[..., Mapping[str, Terms]]


def takes_step(losses: Losses) -> bool:
    """Whether a function of losses takes the step as a third argument."""
    try:
        parameters = inspect.signature(losses).parameters.values()
    except (TypeError, ValueError):
        return True
    kinds = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    count = sum(parameter.kind in kinds for parameter in parameters)
    required = sum(parameter.kind in kinds and parameter.default is parameter.empty for parameter in parameters)
    several = any(parameter.kind is inspect.Parameter.VAR_POSITIONAL for parameter in parameters)
    fits = (count >= 2 or several) and required <= 3
    require(fits, "losses", f"a function of {count} arguments", "a function of (net, batch, t) or (net, batch)")
    return count >= 3 or several


def terms_of(
    returned: Any, players: tuple[str, ...], members: Mapping[str, tuple[str, str]], requested: tuple[str, ...]
) -> dict[str, dict[str, Any]]:
    """Return the named terms of each of the `requested` players; a loss without terms is named "".

    Args:
        returned: what the user's function returned.
        players: names of all players.
        members: the side of each member of a side, and its path, by name.
        requested: the players whose loss is needed; functions of others are not called.
    """
    if not isinstance(returned, Mapping):
        raise _no_losses(type(returned).__name__, players)
    others = [str(name) for name in returned if name not in players and name not in members]
    if others:
        raise _no_losses(", ".join(others), players)
    terms: dict[str, dict[str, Any]] = {player: {} for player in requested}
    for player in players:
        if player in returned:
            names = [player]
        else:
            names = [name for name, (side, _) in members.items() if side == player and name in returned]
        if not names:
            raise _no_losses(f"no loss for {player}", players)
        for source in names if player in requested else ():
            loss = returned[source]
            loss = loss if isinstance(loss, Tensor) or not callable(loss) else loss()
            named = loss if isinstance(loss, Mapping) else {"": loss}
            require(len(named) > 0, f"losses.{source}", "no terms", "at least one term")
            for key, term in named.items():
                name, value = str(key), term if isinstance(term, Tensor) or not callable(term) else term()
                path = name if source == player else f"{source}.{name}" if name else source
                terms[player][path] = value if _is_scalar(value) else _as_scalar(source, name, value)
    return terms


def _no_losses(returned: str, players: tuple[str, ...]) -> InvalidValue:
    return InvalidValue("losses", returned, f"a dictionary with the loss of {', '.join(players)}")


def _is_scalar(value: Any) -> bool:
    return type(value) is Tensor and value.dim() == 0 and value.is_floating_point()


def _as_scalar(source: str, name: str, value: Any) -> Any:
    """Return a term as a tensor, (), or a number."""
    field = f"losses.{source}.{name}" if name else f"losses.{source}"
    if isinstance(value, Tensor):
        if value.numel() != 1:
            raise InvalidValue(field, f"a tensor of shape {tuple(value.shape)}", "a scalar: take the mean or sum")
        if not value.is_floating_point():
            raise InvalidValue(field, str(value.dtype), "a floating-point scalar")
        return value.reshape(()) if value.dim() else value
    require(isinstance(value, int | float), field, type(value).__name__, "a scalar tensor, a number or named terms")
    return value


def with_sums(terms: Mapping[str, Tensor | Mapping[str, Any]], vectors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return each player's loss, the sum of its terms in their order, and its named terms as "player.term".

    Args:
        terms: each player's loss, or its terms: tensors, (), or numbers, which become tensors like its vector.
        vectors: each player's vector.
    """
    losses: dict[str, Tensor] = {}
    for player, named in terms.items():
        if isinstance(named, Tensor):
            losses[player] = named
            continue
        like = vectors[player]
        values = [value if isinstance(value, Tensor) else like.new_tensor(float(value)) for value in named.values()]
        losses[player] = values[0] if len(values) == 1 else reduce(operator.add, values)
        if len(named) > 1 or "" not in named:
            losses |= {f"{player}.{name or 'loss'}": value for name, value in zip(named, values, strict=True)}
    return losses


def require_gradients(
    terms: Mapping[str, Mapping[str, Any]], losses: Mapping[str, Tensor], leaves: Mapping[str, Tensor]
) -> None:
    """Raise `InvalidValue` if a term has no gradient, or a loss does not depend on its player's own parameters.

    Args:
        terms: each player's terms: tensors on autograd's graph, or numbers, which are constants.
        losses: each player's loss.
        leaves: each player's vector.
    """
    for player, named in terms.items():
        for name, value in named.items():
            constant = isinstance(value, Tensor) and not value.requires_grad and bool(value != 0)
            hint = "The cause may be no_grad, detach or .item() before it. Return a constant as a Python number"
            label = f"losses.{player}{'.' if name else ''}{name}"
            require(not constant, label, "a tensor without a gradient", "a term that depends on parameters", hint)
        constant = not losses[player].requires_grad
        value = float(losses[player]) if constant else "a loss that does not depend on them"
        valid = value == 0 if constant else _depends_on(losses[player], leaves[player])
        allowed = f"a loss that depends on the parameters of {player}"
        hint = f"0 for a player that does not move yet. Is net.{player} called, and its output not detached?"
        require(valid, f"losses.{player}", value, allowed, hint)


def _depends_on(loss: Tensor, leaf: Tensor) -> bool:
    """Whether a leaf of autograd's graph is reached from a loss."""
    visited: set[Any] = set()
    queue: list[Any] = [loss.grad_fn]
    while queue:
        node = queue.pop()
        if node is None or node in visited:
            continue
        if getattr(node, "variable", None) is leaf:
            return True
        visited.add(node)
        queue += [source for source, _ in node.next_functions]
    return False
