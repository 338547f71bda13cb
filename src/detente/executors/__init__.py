"""Executors: where the trainings of a grid run."""

from detente.registry import lookup_member

__getattr__ = lookup_member("executors")
