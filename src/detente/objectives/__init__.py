"""Objectives: the losses of the two players as functions of the discriminator's scores.

In your own losses, `from detente.objectives import Hinge, feature_matching`, then `Hinge().generator_loss(real,
fake)` and `Hinge().discriminator_loss(real, fake)`, with scores of any shape.
"""

from detente.objectives.features import feature_matching as feature_matching
from detente.registry import lookup_member

__getattr__ = lookup_member("objectives")
