"""The table of papers: each published method as its triple of field, scheme and optimizer, with the paper's defaults.

Every function takes `optimizer`, the name of a member of `detente.optimizers` or a built one, and `learning_rate`,
which goes to a named optimizer (default: the one stated). Its docstring ends with `Choose:` (when to) and `Source:`.
"""

import inspect
from collections.abc import Callable

from detente.method import Method
from detente.methods.gradients import (
    alternating,
    consensus,
    extragradient,
    optimistic,
    past_extragradient,
    simultaneous,
    smoothing,
    wasserstein_clipping,
)

__all__ = [
    "alternating",
    "consensus",
    "extragradient",
    "optimistic",
    "past_extragradient",
    "simultaneous",
    "smoothing",
    "wasserstein_clipping",
]


def names() -> dict[str, Callable[..., Method]]:
    """Return every method of this table by name."""
    return {
        name: member
        for name, member in sorted(globals().items())
        if inspect.isfunction(member) and inspect.signature(member).return_annotation == "Method"
    }
