"""What every method of the table has in common: optimizers by name or built, and their learning rates."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from numbers import Real
from typing import Any, TypeVar

from detente.errors import InvalidValue, require, unknown
from detente.optimizers.base import Optimizer
from detente.registry import members
from detente.schedule import Schedule

# One learning rate for all players, or one for each (two time-scales): by name, or in the order of the game's players.
Rate = float | Schedule | Mapping[str, float | Schedule] | Sequence[float | Schedule] | None
Optimizers = Optimizer | Mapping[str, Optimizer] | Sequence[Optimizer]
Build = TypeVar("Build", bound=Callable[..., Any])
GAN_PLAYERS = ("generator", "discriminator")


@dataclass(frozen=True)
class Registration:
    """What a method's row in the table of methods says, besides what its code tells.

    Args:
        memory: what is kept between steps besides the parameters, in copies of them.
        use: when to use it, as the end of a sentence.
        limits: where it fails, or what it costs.
        ring: settings of the game `ring` on which its cost is counted.
    """

    memory: str
    use: str
    limits: str
    ring: Mapping[str, Any]


def registered(memory: str, use: str, limits: str, **ring: Any) -> Callable[[Build], Build]:
    """Return a decorator that gives a method's function its `registration`; arguments as `Registration` has them."""

    def decorate(build: Build) -> Build:
        build.registration = Registration(memory, use, limits, ring)  # type: ignore[attr-defined]
        return build

    return decorate


def with_rates(learning_rate: Rate, default: float, make: Callable[[Any], Optimizer]) -> Optimizers:
    """Return the optimizer with a learning rate, or one optimizer for each player where each has its own rate.

    Args:
        learning_rate: one rate for all players, or one for each, by name or in the game's order; None for the default.
        default: the rate where none is given.
        make: returns the optimizer with one rate, a number or a schedule.

    Raises:
        InvalidValue: a rate that is neither a number nor a schedule, or no rate at all.
    """
    if learning_rate is None:
        return make(default)
    if isinstance(learning_rate, Mapping):
        require(len(learning_rate) > 0, "learning_rate", learning_rate, "a rate for each player")
        return {str(player): _made(f"learning_rate.{player}", rate, make) for player, rate in learning_rate.items()}
    if isinstance(learning_rate, Sequence) and not isinstance(learning_rate, str):
        require(len(learning_rate) > 0, "learning_rate", learning_rate, "a rate for each player")
        return tuple(_made(f"learning_rate[{index}]", rate, make) for index, rate in enumerate(learning_rate))
    return _made("learning_rate", learning_rate, make)


def named_optimizer(optimizer: Optimizer | str, learning_rate: Rate, default: float) -> Optimizers:
    """Return an optimizer as it was built, or the member of that name with `learning_rate`, or with the default.

    Where each player has a learning rate of its own, each has an optimizer of its own.

    Raises:
        InvalidValue: there is no such optimizer, or one that was built is given another rate.
    """
    if isinstance(optimizer, Optimizer):
        if learning_rate is not None:
            raise InvalidValue(
                "learning_rate", learning_rate, "nothing, since the optimizer that you built has its own"
            )
        return optimizer
    choices = {name: member for name, member in members("optimizers").items() if name != "clipped"}
    if not isinstance(optimizer, str):
        raise InvalidValue("optimizer", optimizer, f"an optimizer, or one of {', '.join(choices)}")
    if optimizer not in choices:
        raise unknown("optimizer", optimizer, choices)
    return with_rates(learning_rate, default, lambda rate: choices[optimizer](learning_rate=rate))


def gan_optimizers(optimizer: Optimizer | str, learning_rate: Rate, default: float) -> dict[str, Optimizer]:
    """Return the generator's and the discriminator's optimizer, by name, as `named_optimizer` makes them.

    Raises:
        InvalidValue: as `named_optimizer`, or rates for other players.
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


def require_one_rate(learning_rate: Rate, hint: str, scheduled: bool = True) -> None:
    """Raise `InvalidValue` where each player is given a learning rate of its own, and the method has one.

    Args:
        learning_rate: as the user gave it.
        hint: whose rate it is, or where the other one is set.
        scheduled: whether the rate may be a schedule.
    """
    several = isinstance(learning_rate, Mapping | Sequence) and not isinstance(learning_rate, str)
    require(not several, "learning_rate", learning_rate, "one rate", hint)
    if learning_rate is not None:
        _require_rate("learning_rate", learning_rate)
        plain = scheduled or not isinstance(learning_rate, Schedule)
        require(plain, "learning_rate", learning_rate, "a finite number > 0", hint)


def _made(field: str, rate: Any, make: Callable[[Any], Optimizer]) -> Optimizer:
    _require_rate(field, rate)
    try:
        return make(rate)
    except InvalidValue as error:
        raise InvalidValue(field, rate, error.allowed, error.hint) from error


def _require_rate(field: str, rate: Any) -> None:
    number = isinstance(rate, Real) and not isinstance(rate, bool)
    require(number or isinstance(rate, Schedule), field, rate, "a finite number > 0, or a schedule")
