"""Common parts of methods: registration, optimizers by name, and learning rates per player."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from numbers import Real
from typing import Any, TypeVar

import torch

from detente.errors import InvalidValue, require, unknown
from detente.optimizers.base import Optimizer, Wrapper
from detente.optimizers.clipped_gradient import ClippedGradient
from detente.optimizers.torch_optimizer import Torch
from detente.registry import members
from detente.schedules.base import Schedule

# One learning rate for all players, or one per player (two time-scales), by name or in the order of the players.
Rate = float | Schedule | Mapping[str, float | Schedule] | Sequence[float | Schedule] | None
Optimizers = Optimizer | Mapping[str, Optimizer] | Sequence[Optimizer]
Betas = tuple[float | Schedule, float | Schedule] | None  # of a named optimizer that has such; None for its own
Build = TypeVar("Build", bound=Callable[..., Any])
GAN_PLAYERS = ("generator", "discriminator")


@dataclass(frozen=True)
class Registration:
    """A method's row in the table of methods, in the source text, so that it is read without PyTorch.

    Args:
        cost: gradients of one player's loss on one batch in a step of the method with its defaults, with snapshots and
            passes over the whole set averaged over steps; a test compares it with `Method.gradient_evaluations`.
        memory: memory between steps in addition to the parameters, in multiples of their size.
        use: when to use the method, as the end of a sentence.
        limits: when the method fails, or its cost.
        ring: settings of the game `ring` on which the cost is that.
    """

    cost: float
    memory: str
    use: str
    limits: str
    ring: Mapping[str, Any]


def registered(cost: float, memory: str, use: str, limits: str, **ring: Any) -> Callable[[Build], Build]:
    """Return a decorator that sets the `registration` of a method's function; see `Registration` for the arguments."""

    def decorate(build: Build) -> Build:
        build.registration = Registration(cost, memory, use, limits, ring)  # type: ignore[attr-defined]
        return build

    return decorate


def with_rates(learning_rate: Rate, default: float, make: Callable[[Any], Optimizer]) -> Optimizers:
    """Return the optimizer with a learning rate, or one optimizer per player if each player has its own rate.

    Args:
        learning_rate: one rate for all players, or one per player, by name or in the game's order; None for the
            default.
        default: the default rate.
        make: returns the optimizer for one rate, a number or a schedule.

    Raises:
        InvalidValue: a rate is neither a number nor a schedule, or there are no rates.
    """
    if learning_rate is None:
        return make(default)
    if isinstance(learning_rate, Mapping):
        require(len(learning_rate) > 0, "learning_rate", learning_rate, "a rate for each player")
        return {str(player): _make(f"learning_rate.{player}", rate, make) for player, rate in learning_rate.items()}
    if isinstance(learning_rate, Sequence) and not isinstance(learning_rate, str):
        require(len(learning_rate) > 0, "learning_rate", learning_rate, "a rate for each player")
        return tuple(_make(f"learning_rate[{index}]", rate, make) for index, rate in enumerate(learning_rate))
    return _make("learning_rate", learning_rate, make)


def named_optimizer(
    optimizer: Optimizer | str,
    learning_rate: Rate,
    default: float,
    betas: Betas = None,
    clip: float | Schedule | None = None,
) -> Optimizers:
    """Return an optimizer unchanged, or for a name, the member of that name with `learning_rate` or the default.

    A name with a dot is the import path of a `torch.optim.Optimizer`, such as "torch.optim.AdamW". If each player has
    its own learning rate, each has its own optimizer.

    Args:
        optimizer: an optimizer, or its name.
        learning_rate: rate of the named optimizer, for all players or per player; None for the default.
        default: the default rate.
        betas: (β₁, β₂) of the named optimizer; None for its own.
        clip: largest norm of each player's gradient, > 0, or a schedule; None for no bound.

    Raises:
        InvalidValue: the name is unknown, or an optimizer instance is combined with a learning rate or betas.
    """
    if clip is not None:
        inner = named_optimizer(optimizer, learning_rate, default, betas)
        if isinstance(inner, Optimizer):
            return ClippedGradient(inner, clip)
        if isinstance(inner, Mapping):
            return {player: ClippedGradient(player_optimizer, clip) for player, player_optimizer in inner.items()}
        return tuple(ClippedGradient(player_optimizer, clip) for player_optimizer in inner)
    if isinstance(optimizer, Optimizer):
        require(betas is None, "betas", betas, "None, since the optimizer that you passed has its own")
        if learning_rate is not None:
            raise InvalidValue("learning_rate", learning_rate, "None, since the optimizer that you passed has its own")
        return optimizer
    choices = {n: kind for n, kind in members("optimizers").items() if not issubclass(kind, Wrapper | Torch)}
    if not isinstance(optimizer, str):
        hint = (
            "For each player its own: Method(field, scheme, {player: optimizer})"
            if isinstance(optimizer, Mapping)
            else ""
        )
        kind = optimizer if isinstance(optimizer, type) else type(optimizer)
        if issubclass(kind, torch.optim.Optimizer):
            hint = f"Wrap it: optimizers.torch({kind.__name__}, lr=…)"
        raise InvalidValue("optimizer", optimizer, f"an optimizer, or one of {', '.join(choices)}", hint)
    if "." in optimizer:
        require(betas is None, "betas", betas, "None, since this optimizer has its own")
        return with_rates(learning_rate, default, lambda rate: _torch_optimizer(optimizer, rate))
    if optimizer not in choices:
        raise unknown("optimizer", optimizer, choices)
    kind = choices[optimizer]
    accepted = betas is None or "betas" in getattr(kind, "__dataclass_fields__", {})
    require(accepted, "betas", betas, f"None, since {optimizer} has none")
    more: dict[str, Any] = {} if betas is None else {"betas": betas}
    return with_rates(learning_rate, default, lambda rate: kind(learning_rate=rate, **more))


def gan_optimizers(optimizer: Optimizer | str, learning_rate: Rate, default: float) -> dict[str, Optimizer]:
    """Return the optimizers of the generator and the discriminator by player, as in `named_optimizer`.

    Raises:
        InvalidValue: as in `named_optimizer`, or if there are rates for other players.
    """
    optimizers = named_optimizer(optimizer, learning_rate, default)
    if isinstance(optimizers, Optimizer):
        return dict.fromkeys(GAN_PLAYERS, optimizers)
    fits = (
        set(optimizers) == set(GAN_PLAYERS) if isinstance(optimizers, Mapping) else len(optimizers) == len(GAN_PLAYERS)
    )
    require(fits, "learning_rate", learning_rate, f"one rate, or one for each of {', '.join(GAN_PLAYERS)}")
    return (
        {player: optimizers[player] for player in GAN_PLAYERS}
        if isinstance(optimizers, Mapping)
        else dict(zip(GAN_PLAYERS, optimizers, strict=True))
    )


def require_one_rate(learning_rate: Rate, hint: str) -> None:
    """Raise `InvalidValue` for learning rates per player, for a method that has only one rate.

    Args:
        learning_rate: the user's value.
        hint: explains which player has this rate, or how to set the other player's rate.
    """
    per_player = isinstance(learning_rate, Mapping | Sequence) and not isinstance(learning_rate, str)
    require(not per_player, "learning_rate", learning_rate, "one rate", hint)
    if learning_rate is not None:
        _require_rate("learning_rate", learning_rate)


def _torch_optimizer(path: str, rate: Any) -> Torch:
    try:
        return Torch(path, lr=rate)
    except InvalidValue as error:
        raise InvalidValue("optimizer", path, error.allowed, error.hint) from error


def _make(field: str, rate: Any, make: Callable[[Any], Optimizer]) -> Optimizer:
    _require_rate(field, rate)
    try:
        return make(rate)
    except InvalidValue as error:
        if error.field == "optimizer":
            raise
        raise InvalidValue(field, rate, error.allowed, error.hint) from error


def _require_rate(field: str, rate: Any) -> None:
    number = isinstance(rate, Real) and not isinstance(rate, bool)
    require(number or isinstance(rate, Schedule), field, rate, "a finite number > 0, or a schedule")
