"""Experiments of *SGAN*."""
