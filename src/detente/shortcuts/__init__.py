"""Faster ways to the same numbers, to rounding."""
