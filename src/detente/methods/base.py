"""What every method of the table has in common: an optimizer by name or built, and its learning rate."""

from __future__ import annotations

from detente.catalogue import members
from detente.errors import InvalidValue, unknown
from detente.optimizers.base import Optimizer
from detente.schedule import Schedule

Rate = float | Schedule | None


def named_optimizer(optimizer: Optimizer | str, learning_rate: Rate, default: float) -> Optimizer:
    """Return an optimizer as it was built, or the member of that name with `learning_rate`, or with the default.

    Raises:
        InvalidValue: there is no such optimizer, or one that was built is given another rate.
    """
    if isinstance(optimizer, Optimizer):
        if learning_rate is not None:
            raise InvalidValue(
                "learning_rate", learning_rate, "nothing, since the optimizer that you built has its own"
            )
        return optimizer
    known = {name: member for name, member in members("optimizers").items() if name != "clipped"}
    if optimizer not in known:
        raise unknown("optimizer", optimizer, known)
    return known[optimizer](learning_rate=default if learning_rate is None else learning_rate)
