"""Objectives: the losses of the two players as functions of the discriminator's scores.

In losses of your own, `from detente.objectives import Hinge, feature_matching`, then `Hinge().generator_loss(real,
fake)` and `Hinge().discriminator_loss(real, fake)`, with scores of any shape.
"""

from __future__ import annotations

from typing import Any

from detente.objectives.features import feature_matching as feature_matching


def __getattr__(name: str) -> Any:
    """Return the objective of that class name, from whichever file of this folder defines it."""
    from detente.registry import members

    found = {} if name.startswith("_") else {member.__name__: member for member in members("objectives").values()}
    if name in found:
        return found[name]
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
