"""The losses of a game of networks as named terms, as a user's function returns them."""

from __future__ import annotations

import inspect
import operator
from collections.abc import Callable, Mapping
from functools import reduce
from typing import Any

from torch import Tensor

from detente.errors import require
from detente.modules.net import Net

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


def named_terms(field: str, value: Any) -> list[tuple[str, Any]]:
    """Return a loss as named terms, after calling functions; the name of a loss without terms is empty."""
    value = value() if callable(value) and not isinstance(value, Tensor) else value
    if not isinstance(value, Mapping):
        return [("", value)]
    require(len(value) > 0, field, "no terms", "at least one term")
    return [(str(n), term() if callable(term) and not isinstance(term, Tensor) else term) for n, term in value.items()]


def require_scalar(field: str, value: Any) -> Any:
    """Return a term as a tensor, (), or a number."""
    if isinstance(value, Tensor):
        require(value.numel() == 1, field, f"a tensor of shape {tuple(value.shape)}", "a scalar: take the mean or sum")
        require(value.is_floating_point(), field, str(value.dtype), "a floating-point scalar")
        return value.reshape(()) if value.dim() else value
    require(isinstance(value, int | float), field, type(value).__name__, "a scalar tensor, a number or named terms")
    return value


def with_sums(terms: Mapping[str, Mapping[str, Any]], net: Net) -> dict[str, Tensor]:
    """Return each player's loss, the sum of its terms in their order, and its named terms as "player.term"."""
    losses: dict[str, Tensor] = {}
    for player, named in terms.items():
        vector = net._vectors[player]
        values = [value if isinstance(value, Tensor) else vector.new_tensor(float(value)) for value in named.values()]
        losses[player] = reduce(operator.add, values)
        if tuple(named) != ("",):
            losses |= {f"{player}.{name or 'loss'}": value for name, value in zip(named, values, strict=True)}
    return losses
