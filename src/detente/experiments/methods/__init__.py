"""Experiments that compare methods on games with a known solution."""
