"""Faster algorithms for the same results."""
