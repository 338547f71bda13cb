"""Filters: maps of samples, applied before the discriminator scores them: less detail, noise, augmentations.

`from detente.filters import DiffAugment` finds each of them by its class name.
"""

from detente.registry import lookup_member

__getattr__ = lookup_member("filters")
