"""Penalties: terms of the discriminator's loss that depend on its scores, or on their gradient at samples.

`from detente.penalties import R1` finds each of them by its class name.
"""

from detente.registry import lookup_member

__getattr__ = lookup_member("penalties")
