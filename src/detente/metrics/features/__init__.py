"""Features that metrics compare samples by: the digits' classifier, Inception."""

from detente.deprecated import lookup

__getattr__ = lookup(__name__)
